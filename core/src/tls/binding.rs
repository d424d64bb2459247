//! The `tls-exporter` channel binding (RFC 9266 §4.2), which rustls' unbuffered interface lacks.
//!
//! rustls tells the exporter secret to a key log only. So a key log is installed that takes just
//! this secret and puts it where the caller on the same thread, who runs the handshake, picks it
//! up at once. The binding is derived from it (RFC 8446 §7.5); the secret is not kept.

use std::cell::RefCell;

use ring::{digest, hkdf};
use rustls::crypto::hash::HashAlgorithm;
use rustls::{KeyLog, SupportedCipherSuite};

/// RFC 9266 §4.2.
const LABEL: &[u8] = b"EXPORTER-Channel-Binding";
const EXPORTER_SECRET: &str = "EXPORTER_SECRET";

thread_local! {
    static SECRET: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
}

/// Passes the exporter secret on within the thread, and no other secret to anybody.
pub(super) struct ExporterTap;

impl std::fmt::Debug for ExporterTap {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("ExporterTap")
    }
}

impl KeyLog for ExporterTap {
    fn log(&self, label: &str, _client_random: &[u8], secret: &[u8]) {
        if label == EXPORTER_SECRET {
            SECRET.with_borrow_mut(|slot| *slot = Some(secret.to_vec()));
        }
    }

    fn will_log(&self, label: &str) -> bool {
        label == EXPORTER_SECRET
    }
}

/// Runs one step of a handshake and returns the exporter secret if it came up.
pub(super) fn tapped<T>(step: impl FnOnce() -> T) -> (T, Option<Vec<u8>>) {
    SECRET.with_borrow_mut(|slot| *slot = None);
    let result = step();
    (result, SECRET.with_borrow_mut(Option::take))
}

/// Derives the binding; none when the suite is not one of TLS 1.3.
pub(super) fn derive(secret: &[u8], suite: SupportedCipherSuite) -> Option<[u8; 32]> {
    let SupportedCipherSuite::Tls13(suite) = suite else { return None };
    let (hash, expander) = match suite.common.hash_provider.algorithm() {
        HashAlgorithm::SHA256 => (&digest::SHA256, hkdf::HKDF_SHA256),
        HashAlgorithm::SHA384 => (&digest::SHA384, hkdf::HKDF_SHA384),
        _ => return None,
    };
    let empty = digest::digest(hash, b"");
    let derived = expand_label(expander, secret, LABEL, empty.as_ref(), hash.output_len())?;
    let binding = expand_label(expander, &derived, b"exporter", empty.as_ref(), 32)?;
    binding.try_into().ok()
}

/// HKDF-Expand-Label of RFC 8446 §7.1.
fn expand_label(
    expander: hkdf::Algorithm,
    secret: &[u8],
    label: &[u8],
    context: &[u8],
    octets: usize,
) -> Option<Vec<u8>> {
    let length = u16::try_from(octets).ok()?.to_be_bytes();
    let label_length = [u8::try_from(6 + label.len()).ok()?];
    let context_length = [u8::try_from(context.len()).ok()?];
    let info = [&length[..], &label_length, b"tls13 ", label, &context_length, context];
    let key = hkdf::Prk::new_less_safe(expander, secret);
    let mut output = vec![0; octets];
    key.expand(&info, Octets(octets)).ok()?.fill(&mut output).ok()?;
    Some(output)
}

struct Octets(usize);

impl hkdf::KeyType for Octets {
    fn len(&self) -> usize {
        self.0
    }
}
