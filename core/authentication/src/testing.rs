//! What tests of signatures share.
#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

use postrider_dns::script::Script;
use postrider_proto::dkim::canonical::Crlf;
use postrider_proto::dkim::signature::Algorithm;
use ring::digest::{SHA256, digest};
use rsa::pkcs1::DecodeRsaPrivateKey as _;

use crate::content::{Content, Reader};
use crate::dkim::SigningKey;

pub(crate) fn read(folder: &std::path::Path, name: &str) -> Vec<u8> {
    std::fs::read(folder.join(name)).unwrap()
}

/// A message of a file, whose lines may end in any way.
pub(crate) fn content(message: &[u8]) -> Content {
    let mut reader = Reader::new();
    reader.push(&Crlf::whole(message));
    reader.finish().unwrap()
}

/// Adds a TXT record.
pub(crate) fn add_text(script: &mut Script, name: &str, text: &str) {
    let text = text.trim().replace('\\', "\\\\").replace('"', "\\\"").replace('\n', " ");
    let strings: Vec<String> = text
        .as_bytes()
        .chunks(200)
        .map(|string| format!("\"{}\"", String::from_utf8_lossy(string)))
        .collect();
    script.add(&format!("{name}. TXT {}\n", strings.join(" "))).unwrap();
}

/// A script of a map of names to texts, as suites have it: null is a name that isn't there.
pub(crate) fn script(map: &serde_json::Value) -> Script {
    let mut script = Script::new();
    for (name, text) in map.as_object().unwrap() {
        if let Some(text) = text.as_str() {
            assert!(!text.starts_with("~~"), "no suite has failures");
            add_text(&mut script, name, text);
        }
    }
    script
}

pub(crate) use futures_lite::future::block_on;

/// An RSA key of any size.
pub(crate) struct ShortKey(rsa::RsaPrivateKey);

impl ShortKey {
    pub(crate) fn from_pem(pem: &str) -> Self {
        // Some of the suites have lines that the form doesn't allow.
        let body: String = pem.lines().filter(|line| !line.starts_with("-----")).map(str::trim).collect();
        let der = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, body).unwrap();
        Self(rsa::RsaPrivateKey::from_pkcs1_der(&der).unwrap())
    }

    pub(crate) fn record(&self) -> String {
        use rsa::pkcs1::EncodeRsaPublicKey as _;
        let der = self.0.to_public_key().to_pkcs1_der().unwrap();
        postrider_proto::dkim::write::key_record(postrider_proto::dkim::key::Kind::Rsa, der.as_bytes())
    }
}

impl SigningKey for ShortKey {
    fn algorithm(&self) -> Algorithm {
        Algorithm::RsaSha256
    }

    fn sign(&self, octets: &[u8]) -> Option<Vec<u8>> {
        let hash = digest(&SHA256, octets);
        self.0.sign(rsa::Pkcs1v15Sign::new::<rsa::sha2::Sha256>(), hash.as_ref()).ok()
    }
}
