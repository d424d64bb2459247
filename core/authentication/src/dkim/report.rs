//! Results as Authentication-Results tells them (RFC 8601 §2.7.1, RFC 6008).

use postrider_proto::authentication_results::{Method, MethodResult};
use postrider_proto::dkim::tags::to_base64;

use super::result::SignatureResult;
use crate::dnssec;

/// Characters of a signature that tell it from others (RFC 6008 §4 wants at least eight).
const SIGNATURE_CHARACTERS: usize = 12;

/// The results of a message: one for each signature, or that there is none.
#[must_use]
pub fn method_results(results: &[SignatureResult]) -> Vec<MethodResult> {
    if results.is_empty() {
        return vec![MethodResult::new(Method::Dkim, "none")];
    }
    results.iter().map(method_result).collect()
}

fn method_result(signature: &SignatureResult) -> MethodResult {
    let mut told = MethodResult::new(Method::Dkim, signature.result.word());
    let kind = signature.algorithm.as_deref().and_then(|algorithm| algorithm.split('-').next());
    if let (Some(bits), Some(kind)) = (signature.key_bits, kind) {
        told = told.comment(format!("{bits} bit {kind}"));
    }
    if signature.testing {
        told = told.comment("testing");
    }
    if let Some(authenticity) = signature.authenticity {
        told = told.dnssec(dnssec(authenticity));
    }
    if let Some(reason) = &signature.reason {
        told = told.reason(reason.to_string());
    }
    if let Some(domain) = &signature.domain {
        told = told.property("header", "d", domain.as_str());
    }
    if let Some(selector) = &signature.selector {
        told = told.property("header", "s", selector.as_str());
    }
    if let Some(algorithm) = &signature.algorithm {
        told = told.property("header", "a", algorithm);
    }
    if let Some(octets) = &signature.signature {
        let mut text = to_base64(octets);
        text.truncate(SIGNATURE_CHARACTERS);
        told = told.property("header", "b", text);
    }
    // One that only repeats the domain says nothing.
    if let Some(identity) = &signature.identity
        && !(identity.localpart.is_empty() && Some(&identity.domain) == signature.domain.as_ref())
    {
        told = told.property("header", "i", identity.to_string());
    }
    told
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that fails may panic")]
    use postrider_dns::Authenticity;
    use postrider_proto::address::Domain;
    use postrider_proto::authentication_results::AuthenticationResults;
    use postrider_proto::dkim::{Identity, Selector};
    use postrider_proto::smtp::trace::Charset;

    use super::super::result::Reason;
    use super::*;

    fn field(results: &[SignatureResult]) -> String {
        let results = method_results(results);
        let field =
            AuthenticationResults { authserv_id: "mx.example", charset: Charset::Ascii, results: &results };
        field.field().split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn each_signature_is_told_with_what_it_rests_on() {
        assert_eq!(field(&[]), "Authentication-Results: mx.example; dkim=none");
        let domain = Domain::parse("example.com").unwrap();
        let mut result = SignatureResult {
            domain: Some(domain.clone()),
            selector: Selector::parse("s1"),
            algorithm: Some("rsa-sha256".into()),
            identity: Some(Identity { localpart: String::new(), domain }),
            signature: Some(vec![0; 256]),
            key_bits: Some(2048),
            authenticity: Some(Authenticity::Secure),
            ..SignatureResult::unknown()
        };
        assert_eq!(
            field(std::slice::from_ref(&result)),
            "Authentication-Results: mx.example; dkim=pass (2048 bit rsa, with dnssec) header.d=example.com \
             header.s=s1 header.a=rsa-sha256 header.b=AAAAAAAAAAAA"
        );
        result.identity = Identity::parse("joe=22@sub.example.com");
        result.authenticity = Some(Authenticity::Insecure);
        result.testing = true;
        result.set(Reason::BodyHash);
        let told =
            field(&[result, SignatureResult::refused(postrider_proto::dkim::header::HeaderError::TooLarge)]);
        assert!(
            told.contains(
                "dkim=fail (2048 bit rsa, testing, without dnssec) reason=\"the body was changed\""
            ),
            "{told}"
        );
        assert!(told.contains("header.i=\"joe\\\"@sub.example.com\""), "{told}");
        assert!(told.contains("dkim=policy reason=\"the header is too large\""), "{told}");
    }
}
