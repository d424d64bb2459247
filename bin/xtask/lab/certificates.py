"""An authority for the laboratory, certificates of it and others, and their TLSA records."""

import base64
import hashlib
import subprocess

from network import run


class Authority:
    def __init__(self, directory):
        self.directory = directory / "certificates"
        self.directory.mkdir()
        self.file, self.key = self.directory / "authority.crt", self.directory / "authority.key"
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
            "-subj", "/CN=Authority of the laboratory", "-keyout", self.key, "-out", self.file,
            "-addext", "keyUsage=critical,keyCertSign,cRLSign")

    def make(self, label, names, signed=True):
        """A certificate for names, of this authority or of itself. Gives the files of it and of its key."""
        certificate, key = self.directory / f"{label}.crt", self.directory / f"{label}.key"
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days",
                   "20", "-subj", "/CN=host", "-keyout", key, "-out", certificate, "-addext",
                   "subjectAltName=" + ",".join(f"DNS:{name}" for name in names),
                   "-addext", "basicConstraints=critical,CA:FALSE"]
        if signed:
            command += ["-CA", self.file, "-CAkey", self.key]
        run(*command)
        return certificate, key


def tlsa(certificate):
    """The record of usage 3 for the key of a certificate (RFC 6698 §2.1)."""
    public = subprocess.run(["openssl", "x509", "-in", certificate, "-noout", "-pubkey"], capture_output=True, check=True)
    octets = subprocess.run(["openssl", "pkey", "-pubin", "-outform", "DER"], input=public.stdout, capture_output=True,
                            check=True).stdout
    return f"3 1 1 {hashlib.sha256(octets).hexdigest()}"


def dkim(directory, domain):
    """A key for signatures: its file, and the text of its record in strings of at most 255 octets (RFC 6376 §3.6.2.2)."""
    key = directory / f"{domain}.dkim"
    run("openssl", "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", key)
    public = subprocess.run(["openssl", "pkey", "-in", key, "-pubout", "-outform", "DER"], capture_output=True, check=True)
    text = "v=DKIM1; k=rsa; p=" + base64.b64encode(public.stdout).decode()
    return key, " ".join(f'"{text[at:at + 250]}"' for at in range(0, len(text), 250))
