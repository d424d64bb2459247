"""The table of `docs/transport-security.md`, as domains: what each publishes, what its host does, and what has to follow.

A domain is in one of three zones: `dane.lab` is signed, `open.lab` is not, and in `bogus.lab` the signatures of TLSA and
TXT records are broken.
"""

from dataclasses import dataclass, field


@dataclass
class Row:
    name: str
    # The zone.
    zone: str
    # What has to be seen at the host: "tls", "clear", "nothing" (it was connected to, and got no message) or "untouched".
    seen: str
    # The status in the report that the sender gets; none when the message is delivered.
    status: str = None
    # A certificate of the laboratory's authority for the host's name, "right"; or one that is neither, "wrong"; or none.
    certificate: str = "wrong"
    # TLSA records: "right", "wrong", "unusable"; none for none.
    tlsa: str = None
    # The policy: mode, and whether the host is in it.
    policy: tuple = None
    # Whether the policy can be fetched.
    fetched: bool = True
    # The policy's life in seconds.
    max_age: int = 86_400
    # What the host does, as in `hostile.py`.
    host: dict = field(default_factory=dict)
    # REQUIRETLS ("required"), or the header field TLS-Required: No ("no").
    wish: str = None
    # What the report says, too.
    says: str = ""
    # Whether the command MAIL has the parameter.
    requiretls: bool = False
    # Whether STARTTLS has to have been tried although it isn't offered.
    tries: bool = False
    # Counters of ours that this row moves by one, as they are in the text of metrics.
    counts: tuple = ()

    @property
    def domain(self):
        return f"{self.name}.{self.zone}.lab"

    @property
    def mx(self):
        return f"mx.{self.domain}"


DANE = "postrider_queue_destination_dane_required_total"
UNVERIFIED = "postrider_queue_destination_dane_starttlsunverified_total"
TLSA_ERRORS = "postrider_queue_destination_dane_gathertlsa_errors_total"
FALLBACK = "postrider_queue_plaintext_fallback_total"
# A certificate is compared with TLSA records; none of them is about it.
COMPARED = "postrider_dane_verify_total"
MISMATCH = "postrider_dane_verify_errors_total"
AT_HOST = 'postrider_smtpclient_tlsrequiredno_ignored_total{ignored="daneverification"}'
NO_POLICY = 'postrider_queue_requiretls_unsupported_total{reason="nopolicy"}'
NO_REQUIRETLS = 'postrider_queue_requiretls_unsupported_total{reason="norequiretls"}'


def ignored(what):
    return f'postrider_queue_tlsrequiredno_ignored_total{{ignored="{what}"}}'


GARBAGE, REFUSING, SILENT = {"tls": "garbage"}, {"tls": "refuse"}, {"offers_starttls": False}
INJECTING, HANGING_UP = {"tls": "injected"}, {"tls": "hangs up"}
ASKING, LEAVING = {"tls": "wants a certificate"}, {"tls": "leaves"}
OFFERS = {"tls_extensions": ["REQUIRETLS"]}
ENFORCE, NOT_IN_IT = ("enforce", True), ("enforce", False)

ROWS = [
    # No policy.
    Row("plain", "open", "clear", certificate=None),
    Row("badcert", "open", "tls"),
    Row("goodcert", "open", "tls", certificate="right"),
    Row("badtls", "open", "clear", host=GARBAGE, counts=(FALLBACK,)),
    Row("refused", "open", "clear", host=REFUSING, counts=(FALLBACK,)),
    Row("injected", "open", "clear", host=INJECTING, counts=(FALLBACK,)),
    Row("hanging-up", "open", "clear", host=HANGING_UP, counts=(FALLBACK,)),
    Row("asking", "open", "clear", host=ASKING, counts=(FALLBACK,)),
    Row("leaving", "open", "clear", host=LEAVING, counts=(FALLBACK,)),
    Row("hidden", "open", "clear", host=SILENT),
    # TLSA records that nothing signs don't count.
    Row("unsigned", "open", "tls", tlsa="wrong"),
    Row("signed", "dane", "tls"),
    # Policies that ask for nothing.
    Row("none", "open", "tls", policy=("none", False)),
    Row("testing", "open", "tls", policy=("testing", True)),
    Row("testing-other", "open", "tls", policy=("testing", False)),
    Row("testing-badtls", "open", "clear", policy=("testing", True), host=GARBAGE, counts=(FALLBACK,)),
    Row("unfetched", "open", "tls", policy=ENFORCE, fetched=False),
    # Policies that are enforced.
    Row("enforce", "open", "tls", certificate="right", policy=ENFORCE),
    Row("enforce-badcert", "open", "nothing", "5.7.5", policy=ENFORCE),
    Row("enforce-badtls", "open", "nothing", "5.7.5", certificate="right", policy=ENFORCE, host=GARBAGE),
    Row("enforce-asking", "open", "nothing", "5.7.5", certificate="right", policy=ENFORCE, host=ASKING),
    Row("enforce-injected", "open", "nothing", "5.7.5", certificate="right", policy=ENFORCE, host=INJECTING),
    Row("enforce-hidden", "open", "nothing", "5.7.5", certificate=None, policy=ENFORCE, tries=True),
    Row("enforce-tried", "open", "tls", certificate="right", policy=ENFORCE, host=SILENT, tries=True),
    Row("enforce-other", "open", "untouched", "5.7.5", certificate="right", policy=NOT_IN_IT),
    Row("unknown", "bogus", "untouched", "5.7.5", policy=ENFORCE),
    # DANE.
    Row("right", "dane", "tls", tlsa="right", counts=(DANE, COMPARED)),
    Row("wrong", "dane", "nothing", "5.7.5", certificate="right", tlsa="wrong", counts=(DANE, COMPARED, MISMATCH)),
    Row("dane-badtls", "dane", "nothing", "5.7.5", tlsa="right", host=GARBAGE, counts=(DANE,)),
    Row("dane-asking", "dane", "nothing", "5.7.5", tlsa="right", host=ASKING, counts=(DANE, COMPARED)),
    Row("dane-hidden", "dane", "nothing", "5.7.5", tlsa="right", certificate=None, tries=True, counts=(DANE,)),
    Row("unusable", "dane", "tls", tlsa="unusable", counts=(UNVERIFIED,)),
    Row("unusable-badtls", "dane", "nothing", "5.7.5", tlsa="unusable", host=GARBAGE, counts=(UNVERIFIED,)),
    Row("tlsa", "bogus", "untouched", "5.7.5", tlsa="right", counts=(TLSA_ERRORS,)),
    # Both.
    Row("both", "dane", "tls", certificate="right", tlsa="right", policy=ENFORCE, counts=(DANE, COMPARED)),
    Row("both-dane", "dane", "nothing", "5.7.5", tlsa="right", policy=ENFORCE, counts=(DANE, COMPARED)),
    Row("both-authority", "dane", "nothing", "5.7.5", certificate="right", tlsa="wrong", policy=ENFORCE,
        counts=(DANE, COMPARED, MISMATCH)),
    Row("both-unusable", "dane", "tls", certificate="right", tlsa="unusable", policy=ENFORCE, counts=(UNVERIFIED,)),
    Row("both-unusable-bad", "dane", "nothing", "5.7.5", tlsa="unusable", policy=ENFORCE, counts=(UNVERIFIED,)),
    Row("both-other", "dane", "untouched", "5.7.5", certificate="right", tlsa="right", policy=NOT_IN_IT, counts=(DANE,)),
    Row("both-testing", "dane", "tls", tlsa="right", policy=("testing", False), counts=(DANE, COMPARED)),
    # REQUIRETLS.
    Row("require", "dane", "tls", tlsa="right", host=OFFERS, wish="required", requiretls=True, counts=(DANE, COMPARED)),
    Row("require-sts", "open", "tls", certificate="right", policy=ENFORCE, host=OFFERS, wish="required", requiretls=True),
    Row("require-lacking", "dane", "nothing", "5.7.30", tlsa="right", wish="required",
        counts=(DANE, NO_REQUIRETLS, COMPARED)),
    # It is offered in clear alone, where it means nothing.
    Row("require-clear", "dane", "nothing", "5.7.30", tlsa="right", host={"clear_extensions": ["REQUIRETLS"]}, wish="required",
        counts=(DANE, NO_REQUIRETLS, COMPARED)),
    Row("require-nothing", "open", "untouched", "5.7.30", certificate="right", host=OFFERS, wish="required",
        counts=(NO_POLICY,)),
    Row("require-testing", "open", "untouched", "5.7.30", certificate="right", policy=("testing", True), host=OFFERS,
        wish="required", counts=(NO_POLICY,)),
    Row("require-wrong", "dane", "nothing", "5.7.10", tlsa="wrong", host=OFFERS, wish="required",
        counts=(DANE, COMPARED, MISMATCH)),
    Row("require-unusable", "dane", "untouched", "5.7.30", tlsa="unusable", host=OFFERS, wish="required",
        counts=(UNVERIFIED, NO_POLICY)),
    # TLS-Required: No.
    Row("no-other", "open", "tls", policy=NOT_IN_IT, wish="no", counts=(ignored("mtastsmx"), ignored("badtls"))),
    Row("no-badcert", "open", "tls", policy=ENFORCE, wish="no", counts=(ignored("badtls"),)),
    Row("no-badtls", "open", "clear", policy=ENFORCE, host=GARBAGE, wish="no", counts=(FALLBACK, ignored("badtls"))),
    Row("no-wrong", "dane", "tls", tlsa="wrong", wish="no", counts=(ignored("badtls"), DANE, COMPARED, MISMATCH, AT_HOST)),
    Row("no-records", "dane", "tls", certificate="right", tlsa="wrong", wish="no",
        counts=(ignored("badtls"), DANE, COMPARED, MISMATCH, AT_HOST)),
    Row("no-right", "dane", "tls", certificate="right", tlsa="right", wish="no", counts=(DANE, COMPARED)),
    Row("no-tlsa", "bogus", "tls", tlsa="right", wish="no", counts=(TLSA_ERRORS, ignored("badtlsa"), ignored("badtls"))),
    Row("no-unknown", "bogus", "tls", policy=ENFORCE, wish="no", counts=(ignored("mtastspolicy"), ignored("badtls"))),
]
