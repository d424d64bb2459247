//! Hosts that do anything.

use proptest::prelude::*;

use super::*;

fn reply() -> impl Strategy<Value = u16> {
    prop_oneof![Just(250), Just(421), Just(450), Just(451), Just(550), Just(552), Just(554), 0..999_u16]
}

fn host_end() -> impl Strategy<Value = HostEnd> {
    let stage =
        prop_oneof![Just(Stage::Greeting), Just(Stage::Auth), Just(Stage::Mail), Just(Stage::Content)];
    let tls = prop_oneof![Just(TlsEvent::Refused), Just(TlsEvent::Handshake), Just(TlsEvent::NoRequireTls)];
    prop_oneof![
        prop::collection::vec(reply(), 0..6)
            .prop_map(|codes| HostEnd::Transaction(codes.into_iter().map(end).collect())),
        (stage, reply(), 0..9_u16).prop_map(|(stage, code, subject)| refused(
            stage,
            code,
            (code / 100, subject, 1)
        )),
        tls.prop_map(HostEnd::Tls),
        Just(HostEnd::Unreachable(Unreachable::TimedOut)),
        Just(HostEnd::Unable(Unable::EightBit)),
        Just(HostEnd::NoAddresses),
    ]
}

proptest! {
    /// Whatever hosts say: connections are bounded, what is settled is offered to nobody, nobody is forgotten.
    #[test]
    fn whatever_hosts_say_each_recipient_has_one_fate(
        ends in prop::collection::vec(host_end(), 1..8),
        recipients in 1..5_usize,
        attempts_before in 0..8_u16,
        required in any::<bool>(),
    ) {
        let requirement = if required { Requirement::Required } else { Requirement::Unset };
        let sts = if required { enforced("*.example") } else { Sts::None };
        let case = Case { requirement, sts, attempts_before, recipients, ..CASE };
        let mut ends = ends.into_iter().cycle();
        let mut settled = vec![false; recipients];
        let mut connections = 0;
        let (_, done) = run(&case, |dial| {
            connections += 1;
            assert!(!dial.recipients.is_empty());
            assert!(dial.recipients.iter().all(|recipient| !settled[*recipient]));
            let end = ends.next().unwrap();
            if let HostEnd::Transaction(of) = &end {
                for (recipient, end) in dial.recipients.iter().zip(of) {
                    settled[*recipient] |= matches!(end, RecipientEnd::Delivered { .. });
                }
            }
            end
        });
        prop_assert!(connections <= DIALS_MAX);
        prop_assert_eq!(done.verdicts.len(), recipients);
        for (verdict, settled) in done.verdicts.iter().zip(settled) {
            prop_assert_eq!(matches!(verdict, Verdict::Delivered { .. }), settled);
            let is_last = attempts_before + 1 == 8;
            prop_assert!(!(is_last && matches!(verdict, Verdict::Retry(_))));
        }
    }
}
