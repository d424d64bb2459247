//! Anchors that follow their zone (RFC 5011).

use hickory_proto::dnssec::DigestType;
use hickory_proto::dnssec::rdata::{DNSKEY, DNSSECRData};
use hickory_proto::op::{Message, MessageType, OpCode};

use super::super::{KeyState, Reason, Rollover, TrustAnchors};
use super::text::name;
use super::zones::{Key, NOW, TTL, dnssec};

const DAY: u64 = 86_400;

/// A key with its REVOKE flag set.
fn revoked(key: &Key) -> DNSKEY {
    DNSKEY::with_flags(key.dnskey.flags() | 0x80, key.dnskey.public_key().clone())
}

/// The keys of the zone, signed by some of them; those of `gone` are revoked, and sign as such.
fn keys(all: &[&Key], signers: &[&Key], gone: &[&Key], now: u64) -> Message {
    let zone = name("test.");
    let mut response = Message::new(0, MessageType::Response, OpCode::Query);
    let own = all.iter().map(|key| key.dnskey.clone()).chain(gone.iter().map(|key| revoked(key)));
    let records: Vec<_> = own.map(|key| dnssec(&zone, TTL, DNSSECRData::DNSKEY(key))).collect();
    response.answers.extend(records.iter().cloned());
    for key in signers {
        response.answers.push(key.sign(&zone, &zone, &records, now - 1, now + 20 * DAY));
    }
    for key in gone {
        response.answers.push(key.sign_as(&revoked(key), &zone, &zone, &records, now - 1, now + 20 * DAY));
    }
    response
}

fn start(key: &Key) -> Rollover {
    let zone = name("test.");
    let anchors = TrustAnchors::parse(&format!("test. DS {}", key.ds(&zone, DigestType::SHA256))).unwrap();
    assert!(Rollover::start(&name("other."), &anchors).is_none());
    Rollover::start(&zone, &anchors).unwrap()
}

fn states(rollover: &Rollover) -> Vec<(u16, KeyState)> {
    // What is kept is what is meant.
    assert_eq!(&Rollover::from_text(&rollover.to_text()).unwrap(), rollover);
    rollover.keys().collect()
}

fn trusted(rollover: &Rollover) -> Vec<u16> {
    let mut anchors = TrustAnchors::built_in();
    rollover.apply(&mut anchors);
    anchors.tags(&name("test.")).collect()
}

#[test]
fn a_new_key_is_trusted_after_thirty_days_and_the_old_one_goes_when_it_is_revoked() {
    let (old, new) = (Key::ed25519(), Key::ed25519());
    let mut rollover = start(&old);
    assert_eq!(rollover.due(), 0);
    assert_eq!(trusted(&rollover), [old.tag()]);

    // The digest becomes its key.
    let seen = rollover.observe(&keys(&[&old], &[&old], &[], NOW), NOW).unwrap();
    assert_eq!(seen.changes.len(), 1);
    assert_eq!(seen.next, NOW + 3600, "half of the TTL would be less than an hour");
    assert_eq!(states(&rollover), [(old.tag(), KeyState::Valid)]);

    // The new key is there, and waits.
    let ready = NOW + DAY + 30 * DAY;
    rollover.observe(&keys(&[&old, &new], &[&old], &[], NOW + DAY), NOW + DAY).unwrap();
    assert_eq!(states(&rollover)[1], (new.tag(), KeyState::AddPend { until: ready }));
    assert_eq!(trusted(&rollover), [old.tag()]);
    let before = ready - 1;
    assert_eq!(rollover.observe(&keys(&[&old, &new], &[&old], &[], before), before).unwrap().changes, []);
    assert_eq!(trusted(&rollover), [old.tag()]);
    rollover.observe(&keys(&[&old, &new], &[&old], &[], ready), ready).unwrap();
    assert_eq!(trusted(&rollover), [old.tag(), new.tag()]);

    // Both sign, the old one as revoked.
    let now = ready + DAY;
    rollover.observe(&keys(&[&new], &[&new], &[&old], now), now).unwrap();
    assert_eq!(states(&rollover)[0], (old.tag(), KeyState::Revoked { until: now + 30 * DAY }));
    assert_eq!(trusted(&rollover), [new.tag()]);
    // It isn't trusted again, whatever it does.
    let again = rollover.observe(&keys(&[&old, &new], &[&old, &new], &[], now + 1), now + 1).unwrap();
    assert_eq!(again.changes, []);
    assert!(rollover.observe(&keys(&[&old, &new], &[&old], &[], now + 2), now + 2).is_err());
    let later = now + 30 * DAY;
    rollover.observe(&keys(&[&new], &[&new], &[], later), later).unwrap();
    assert_eq!(states(&rollover), [(new.tag(), KeyState::Valid)]);
}

#[test]
fn a_key_that_goes_away_while_it_waits_begins_again() {
    let (old, new) = (Key::ed25519(), Key::p256());
    let mut rollover = start(&old);
    rollover.observe(&keys(&[&old, &new], &[&old], &[], NOW), NOW).unwrap();
    let now = NOW + 20 * DAY;
    rollover.observe(&keys(&[&old], &[&old], &[], now), now).unwrap();
    assert_eq!(states(&rollover), [(old.tag(), KeyState::Valid)]);
    let now = NOW + 31 * DAY;
    rollover.observe(&keys(&[&old, &new], &[&old], &[], now), now).unwrap();
    assert_eq!(states(&rollover)[1].1, KeyState::AddPend { until: now + 30 * DAY });
    // Revoked while it waits: forgotten.
    let now = now + DAY;
    rollover.observe(&keys(&[&old], &[&old], &[&new], now), now).unwrap();
    assert_eq!(states(&rollover), [(old.tag(), KeyState::Valid)]);
}

#[test]
fn a_trusted_key_that_is_missing_stays_trusted() {
    let (one, two) = (Key::ed25519(), Key::ed25519());
    let mut rollover = start(&one);
    rollover.observe(&keys(&[&one, &two], &[&one], &[], NOW), NOW).unwrap();
    let now = NOW + 30 * DAY;
    rollover.observe(&keys(&[&one, &two], &[&one], &[], now), now).unwrap();
    rollover.observe(&keys(&[&two], &[&two], &[], now + 1), now + 1).unwrap();
    assert_eq!(states(&rollover)[0], (one.tag(), KeyState::Missing));
    assert_eq!(trusted(&rollover), [one.tag(), two.tag()]);
    rollover.observe(&keys(&[&one, &two], &[&two], &[], now + 2), now + 2).unwrap();
    assert_eq!(states(&rollover)[0], (one.tag(), KeyState::Valid));
}

#[test]
fn what_no_trusted_key_signed_changes_nothing() {
    let (own, stranger) = (Key::ed25519(), Key::ed25519());
    let mut rollover = start(&own);
    rollover.observe(&keys(&[&own], &[&own], &[], NOW), NOW).unwrap();
    let before = states(&rollover);
    let now = NOW + DAY;
    let error = rollover.observe(&keys(&[&own, &stranger], &[&stranger], &[], now), now).unwrap_err();
    assert!(matches!(error, Reason::KeyMissing { .. }), "{error}");
    assert_eq!(states(&rollover), before);
    assert_eq!(rollover.due(), now + 3600);
    // A waiting key signs nothing for us, and nobody revokes another's key.
    rollover.observe(&keys(&[&own, &stranger], &[&own], &[], now), now).unwrap();
    assert!(rollover.observe(&keys(&[&own, &stranger], &[&stranger], &[], now), now).is_err());
    let mut forged = keys(&[&own, &stranger], &[&own], &[], now);
    forged.answers.insert(0, dnssec(&name("test."), TTL, DNSSECRData::DNSKEY(revoked(&own))));
    assert!(rollover.observe(&forged, now).is_err(), "the set isn't the one that was signed");
    assert_eq!(trusted(&rollover), [own.tag()]);
    let empty = Message::new(0, MessageType::Response, OpCode::Query);
    assert!(matches!(rollover.observe(&empty, now).unwrap_err(), Reason::KeysMissing { .. }));
}

#[test]
fn the_last_key_may_be_revoked_and_nothing_becomes_unsigned_by_it() {
    let own = Key::ed25519();
    let mut rollover = start(&own);
    rollover.observe(&keys(&[&own], &[&own], &[], NOW), NOW).unwrap();
    let mut response = keys(&[&own], &[&own], &[&own], NOW);
    response.answers.swap(0, 1);
    rollover.observe(&response, NOW).unwrap();
    assert_eq!(trusted(&rollover), [0u16; 0]);
    let mut anchors = TrustAnchors::none();
    rollover.apply(&mut anchors);
    assert_eq!(anchors.zones().collect::<Vec<_>>(), [&name("test.")], "an anchor that nothing can satisfy");
}

#[test]
fn a_key_revokes_itself_though_no_other_key_signs() {
    let (own, stranger) = (Key::ed25519(), Key::ed25519());
    let mut rollover = start(&own);
    rollover.observe(&keys(&[&own], &[&own], &[], NOW), NOW).unwrap();
    let now = NOW + DAY;
    let seen = rollover.observe(&keys(&[&stranger], &[&stranger], &[&own], now), now).unwrap();
    assert_eq!(seen.changes.len(), 1, "the stranger stays one: {:?}", seen.changes);
    assert_eq!(states(&rollover), [(own.tag(), KeyState::Revoked { until: now + 30 * DAY })]);
    assert_eq!(trusted(&rollover), [0u16; 0]);
    assert_eq!(rollover.due(), now + 3600);
}

#[test]
fn states_are_refused_with_their_line() {
    let own = Key::ed25519();
    let mut rollover = start(&own);
    rollover.observe(&keys(&[&own], &[&own], &[], NOW), NOW).unwrap();
    let good = rollover.to_text();
    let error = |text: &str| Rollover::from_text(text).unwrap_err().line;
    assert_eq!(error(""), 1);
    assert_eq!(error(&good.replace("version 1", "version 2")), 1);
    assert_eq!(error(&good.replace("; next ", "; soon ")), 2);
    assert_eq!(error(&good.replace(" ; valid", "")), 3);
    assert_eq!(error(&good.replace(" ; valid", " ; trusted")), 3);
    assert_eq!(error(&good.replace(" ; valid", " ; addpend")), 3);
    assert_eq!(error(&good.replace(" ; valid", " ; valid 5")), 3);
    assert_eq!(error(&good.replace("DNSKEY 257", "DNSKEY x")), 3);
    assert_eq!(error(&(good.clone() + "other. DS 1 8 2 00\n")), 4);
    assert_eq!(error(&good.lines().take(2).collect::<Vec<_>>().join("\n")), 2);
    let digest = format!("test. DS {}\n", own.ds(&name("test."), DigestType::SHA256));
    assert_eq!(error(&(good.clone() + &digest.repeat(64))), 3 + 64);
    assert!(Rollover::from_text(&(good + &digest.repeat(63))).is_ok());
}
