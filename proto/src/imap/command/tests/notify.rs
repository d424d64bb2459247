//! NOTIFY.

use super::*;

fn notify(input: &str) -> NotifySet {
    match command(&format!("NOTIFY SET {input}")) {
        Command::Notify(Notify::Set(set)) => set,
        other => panic!("{other:?}"),
    }
}

#[test]
fn notify_names_mailboxes_and_events() {
    assert!(matches!(command("notify none"), Command::Notify(Notify::None)));
    let both = Events::MESSAGE_NEW.with(Events::MESSAGE_EXPUNGE);
    let set = notify(
        "STATUS (selected (MessageNew (UID BODY.PEEK[HEADER.FIELDS (From)]) messageexpunge flagchange)) \
         (subtree (Lists a/b) (MessageExpunge MessageNew)) (mailboxes misc (MailboxName)) \
         (personal (SubscriptionChange ServerMetadataChange MailboxMetadataChange)) (inboxes NONE)",
    );
    assert!(set.status);
    let selected = set.selected.unwrap();
    assert_eq!((selected.delayed, selected.events, selected.fetch.len()), (false, Events::MESSAGES, 2));
    assert_eq!(set.groups.len(), 4);
    let MailboxFilter::Subtree(names) = &set.groups[0].filter else { panic!() };
    assert_eq!((names.len(), set.groups[0].events), (2, both));
    assert!(matches!(&set.groups[1].filter, MailboxFilter::Mailboxes(names) if names.len() == 1));
    assert_eq!(set.groups[1].events, Events::MAILBOX_NAME);
    assert_eq!(set.groups[3].events, Events::NONE);
    let set = notify("(selected-delayed (MessageNew MessageExpunge))");
    assert!(!set.status && set.selected.unwrap().delayed && set.groups.is_empty());
}

#[test]
fn notify_that_makes_no_sense_is_refused() {
    for bad in [
        "NOTIFY",
        "NOTIFY SET",
        "NOTIFY SET STATUS",
        "NOTIFY SOME",
        "NOTIFY SET (personal)",
        "NOTIFY SET (personal ())",
        "NOTIFY SET (personal MessageNew)",
        "NOTIFY SET (nobody (MailboxName))",
        "NOTIFY SET (personal (MessageNew))",
        "NOTIFY SET (personal (MessageExpunge))",
        "NOTIFY SET (personal (FlagChange MailboxName))",
        "NOTIFY SET (personal (MessageNew FlagChange))",
        "NOTIFY SET (personal (MessageNew (UID) MessageExpunge))",
        "NOTIFY SET (selected (MailboxName))",
        "NOTIFY SET (selected NONE) (selected-delayed NONE)",
        "NOTIFY SET (subtree (MessageNew MessageExpunge))",
        "NOTIFY NONE NONE",
    ] {
        assert!(matches!(fault(bad), Fault::Syntax(_)), "{bad}");
    }
    for unknown in ["(AnnotationChange)", "(MessageNew AnnotationChange)", "(MailboxName Future)"] {
        assert_eq!(fault(&format!("NOTIFY SET (personal {unknown})")), Fault::Event, "{unknown}");
    }
    at_the_limit(
        "NOTIFY SET (personal NONE) (personal NONE)",
        "NOTIFY SET (personal NONE) (personal NONE) (personal NONE)",
    );
    at_the_limit(
        "NOTIFY SET (subtree (a b) NONE) (mailboxes c NONE)",
        "NOTIFY SET (subtree (a b) NONE) (mailboxes (c d) NONE)",
    );
}
