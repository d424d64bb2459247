//! Signatures of messages: what verifying and making them costs, with keys that are known already.

use std::hint::black_box;

use anyhow::{Context as _, Result, anyhow, ensure};
use futures_lite::future::block_on;
use postrider_authentication::content::Reader;
use postrider_authentication::dkim::{DkimResult, Policy, PrivateKey, Signer, SignerKey, verify};
use postrider_dns::script::Script;
use postrider_proto::address::Domain;
use postrider_proto::dkim::Selector;
use postrider_proto::dkim::canonical::{Algorithm, BodyCanonicalizer};
use postrider_proto::dkim::write::zone_line;

use super::Case;

/// When messages are signed and verified, in seconds since 1970.
pub(super) const NOW: u64 = 1_780_000_000;
const RSA: &[u8] = include_bytes!("../../../core/authentication/src/dkim/tests/rsa2048.pem");
/// Octets in which a message arrives.
pub(super) const PIECE_OCTETS: usize = 4096;

pub(super) fn rsa() -> Result<PrivateKey> {
    Ok(PrivateKey::from_pem(RSA)?)
}

pub(super) fn ed25519() -> Result<PrivateKey> {
    Ok(PrivateKey::from_ed25519_seed(&[7; 32])?)
}

/// A message of 10 KiB, where its body begins, who signs it, and a resolver that has the key.
pub(super) struct Setting {
    pub(super) message: Vec<u8>,
    body: usize,
    signer: Signer<PrivateKey>,
    pub(super) script: Script,
}

impl Setting {
    pub(super) fn new(key: PrivateKey) -> Result<Self> {
        let message = super::message();
        let body = memchr::memmem::find(&message, b"\r\n\r\n").context("a header")? + 4;
        let domain = Domain::parse("example.org").map_err(|error| anyhow!("{error}"))?;
        let selector = Selector::parse("s").context("a selector")?;
        // Scripts have no records of several lines.
        let line = zone_line(&selector, &domain, &key.record()).replace(['(', ')', '\n'], " ");
        let script = Script::parse(&format!("$TTL 60\n{line}\n")).map_err(|error| anyhow!("{error}"))?;
        let signer = Signer::new(domain, vec![SignerKey { selector, key }]);
        Ok(Self { message, body, signer, script })
    }

    pub(super) fn signed(&self) -> Result<String> {
        let mut hasher = self.signer.body_hasher();
        self.message[self.body..].chunks(PIECE_OCTETS).for_each(|piece| hasher.push(piece));
        Ok(self.signer.sign(self.message[..self.body].to_vec(), &hasher.finish(), None, NOW)?)
    }
}

fn verifying(name: &str, key: fn() -> Result<PrivateKey>) -> Case {
    Case::new(name, None, 1, move |_| {
        let setting = Setting::new(key()?)?;
        let message = [setting.signed()?.as_bytes(), &setting.message].concat();
        let policy = Policy::default();
        Ok(Box::new(move || {
            let mut reader = Reader::new();
            message.chunks(PIECE_OCTETS).for_each(|piece| reader.push(black_box(piece)));
            let content = reader.finish()?;
            let results = block_on(verify(&content, &policy, NOW, &setting.script));
            ensure!(results.iter().all(|result| result.result == DkimResult::Pass), "{results:?}");
            setting.script.forget();
            Ok(results.len())
        }))
    })
}

fn signing(name: &str, key: fn() -> Result<PrivateKey>) -> Case {
    Case::new(name, None, 1, move |_| {
        let setting = Setting::new(key()?)?;
        Ok(Box::new(move || Ok(setting.signed()?.matches("DKIM-Signature:").count())))
    })
}

fn canonical(name: &str, algorithm: Algorithm) -> Case {
    let octets = super::message().len();
    Case::new(name, None, octets, move |_| {
        let message = super::message();
        Ok(Box::new(move || {
            let mut octets = 0;
            let mut canonicalizer = BodyCanonicalizer::new(algorithm);
            for piece in message.chunks(PIECE_OCTETS) {
                canonicalizer.push(black_box(piece), &mut |piece| octets += piece.len());
            }
            canonicalizer.finish(&mut |piece| octets += piece.len());
            Ok(octets)
        }))
    })
}

pub(super) fn cases() -> Vec<Case> {
    vec![
        canonical("dkim_simple_body_of_10_kib", Algorithm::Simple),
        canonical("dkim_relaxed_body_of_10_kib", Algorithm::Relaxed),
        verifying("dkim_verify_rsa2048", rsa),
        verifying("dkim_verify_ed25519", ed25519),
        signing("dkim_sign_rsa2048", rsa),
        signing("dkim_sign_ed25519", ed25519),
    ]
}
