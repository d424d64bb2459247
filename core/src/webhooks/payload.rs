//! What is sent of messages that an account sent (product 10.6).

use jiff::Timestamp;
use postrider_storage::directory::WebhookEvent;
use postrider_storage::ids::QueueId;
use postrider_storage::rows::HookRow;
use serde::Serialize;

/// The longest text of a member, and the most of all members of `Extra` together. What is longer is cut, or left out.
const MEMBER_OCTETS_MAX: usize = 1024;
const EXTRA_OCTETS_MAX: usize = 8 * 1024;
/// Texts of a payload besides `Extra`.
const MEMBERS_MAX: usize = 8;
/// An octet of a text takes at most six in JSON (`\u0000`).
const _: () =
    assert!((MEMBERS_MAX * MEMBER_OCTETS_MAX + EXTRA_OCTETS_MAX) * 6 + 4096 <= HookRow::PAYLOAD_OCTETS_MAX);

/// What a sender said of a message, and its program wants to hear again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// What is added to the sender's address for this message alone; empty without.
    pub from_id: String,
    /// The Message-ID, without angle brackets.
    pub message_id: String,
    /// The subject, decoded.
    pub subject: String,
    /// What the sender's program added.
    pub extra: Vec<(String, String)>,
}

/// Something that happened to a message for one recipient.
#[derive(Clone, Debug)]
pub struct Told<'a> {
    /// What.
    pub event: WebhookEvent,
    /// A report from another server said so.
    pub is_dsn: bool,
    /// The recipient's address is suppressed from now on.
    pub suppressing: bool,
    /// The entry of the queue.
    pub entry: QueueId,
    /// The first entry of the submission.
    pub base: QueueId,
    /// The recipient's address.
    pub recipient: &'a str,
    /// What the sender said.
    pub meta: &'a Meta,
    /// The code of the other server's reply.
    pub code: Option<u16>,
    /// The enhanced code.
    pub enhanced: Option<[u16; 3]>,
    /// What went wrong; empty when nothing did.
    pub error: &'a str,
}

/// How much room there is for what a payload can do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    Enough,
    /// A message with thousands of recipients: only what tells them apart.
    Scarce,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Payload<'a> {
    version: u32,
    event: &'a str,
    #[serde(rename = "DSN")]
    dsn: bool,
    suppressing: bool,
    #[serde(rename = "QueueMsgID")]
    queue_msg_id: String,
    #[serde(rename = "SubmissionID")]
    submission_id: String,
    recipient: &'a str,
    #[serde(rename = "FromID")]
    from_id: &'a str,
    #[serde(rename = "MessageID")]
    message_id: &'a str,
    subject: &'a str,
    webhook_queued: String,
    #[serde(rename = "SMTPCode")]
    smtp_code: u16,
    #[serde(rename = "SMTPEnhancedCode")]
    smtp_enhanced_code: String,
    error: &'a str,
    extra: serde_json::Map<String, serde_json::Value>,
}

/// The payload of an event that is queued at `now` (seconds since 1970).
pub(super) fn outgoing(told: &Told<'_>, now: i64, room: Room) -> Vec<u8> {
    let is_scarce = room == Room::Scarce;
    let payload = Payload {
        version: 0,
        event: told.event.name(),
        dsn: told.is_dsn,
        suppressing: told.suppressing,
        queue_msg_id: told.entry.0.to_string(),
        submission_id: told.base.0.to_string(),
        recipient: cut(told.recipient),
        from_id: cut(&told.meta.from_id),
        message_id: cut(&told.meta.message_id),
        subject: if is_scarce { "" } else { cut(&told.meta.subject) },
        webhook_queued: time(now),
        smtp_code: told.code.unwrap_or(0),
        smtp_enhanced_code: told
            .enhanced
            .map(|[class, subject, detail]| format!("{class}.{subject}.{detail}"))
            .unwrap_or_default(),
        error: if is_scarce { "" } else { cut(told.error) },
        extra: if is_scarce { serde_json::Map::new() } else { extra(told.meta) },
    };
    // Nothing in it fails to be JSON.
    serde_json::to_vec(&payload).unwrap_or_default()
}

/// What is sent to see whether a webhook for messages that were sent works.
pub(super) fn test_outgoing(now: i64) -> Vec<u8> {
    let meta = Meta {
        message_id: "test@localhost".to_owned(),
        subject: "A test of the webhook".to_owned(),
        extra: vec![("test".to_owned(), "true".to_owned())],
        ..Meta::default()
    };
    let told = Told {
        event: WebhookEvent::Delivered,
        is_dsn: false,
        suppressing: false,
        entry: QueueId(0),
        base: QueueId(0),
        recipient: "somebody@example.org",
        meta: &meta,
        code: Some(250),
        enhanced: Some([2, 0, 0]),
        error: "",
    };
    outgoing(&told, now, Room::Enough)
}

fn extra(meta: &Meta) -> serde_json::Map<String, serde_json::Value> {
    let mut room = EXTRA_OCTETS_MAX;
    let mut members = serde_json::Map::new();
    for (key, value) in &meta.extra {
        let (key, value) = (cut(key), cut(value));
        let Some(left) = room.checked_sub(key.len() + value.len() + 8) else { break };
        room = left;
        members.insert(key.to_owned(), value.into());
    }
    members
}

pub(super) fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(MEMBER_OCTETS_MAX)]
}

/// A time as RFC 3339 has it.
pub(super) fn time(seconds: i64) -> String {
    Timestamp::from_second(seconds).unwrap_or_default().to_string()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use serde_json::{Value, json};

    use super::*;

    fn told(meta: &Meta) -> Told<'_> {
        Told {
            event: WebhookEvent::Failed,
            is_dsn: false,
            suppressing: true,
            entry: QueueId(1 << 60),
            base: QueueId(7),
            recipient: "x@y.example",
            meta,
            code: Some(550),
            enhanced: Some([5, 1, 1]),
            error: "no \"such\" user",
        }
    }

    #[test]
    fn an_event_has_these_members() {
        let meta = Meta {
            from_id: "id".to_owned(),
            message_id: "m@x".to_owned(),
            subject: "S\u{fc}bject".to_owned(),
            extra: vec![("a".to_owned(), "b".to_owned())],
        };
        let payload: Value = serde_json::from_slice(&outgoing(&told(&meta), 0, Room::Enough)).unwrap();
        let expected = json!({
            "Version": 0, "Event": "failed", "DSN": false, "Suppressing": true,
            "QueueMsgID": "1152921504606846976", "SubmissionID": "7", "Recipient": "x@y.example",
            "FromID": "id", "MessageID": "m@x", "Subject": "S\u{fc}bject",
            "WebhookQueued": "1970-01-01T00:00:00Z", "SMTPCode": 550, "SMTPEnhancedCode": "5.1.1",
            "Error": "no \"such\" user", "Extra": {"a": "b"},
        });
        assert_eq!(payload, expected);
        let scarce: Value = serde_json::from_slice(&outgoing(&told(&meta), 0, Room::Scarce)).unwrap();
        assert_eq!(
            (&scarce["Extra"], &scarce["Error"], &scarce["Subject"]),
            (&json!({}), &json!(""), &json!(""))
        );
        assert_eq!((&scarce["Recipient"], &scarce["SMTPCode"]), (&json!("x@y.example"), &json!(550)));
        let test: Value = serde_json::from_slice(&test_outgoing(0)).unwrap();
        assert_eq!(test["Event"], "delivered");
    }

    #[test]
    fn whatever_is_told_fits() {
        let worst = "\0".repeat(100_000);
        let meta = Meta {
            from_id: worst.clone(),
            message_id: worst.clone(),
            subject: worst.clone(),
            extra: (0..100).map(|number| (format!("{number}{worst}"), worst.clone())).collect(),
        };
        let told = Told { recipient: &worst, error: &worst, ..told(&meta) };
        let octets = outgoing(&told, i64::MAX, Room::Enough);
        assert!(octets.len() <= HookRow::PAYLOAD_OCTETS_MAX, "{}", octets.len());
        let payload: Value = serde_json::from_slice(&octets).unwrap();
        assert!(!payload["Extra"].as_object().unwrap().is_empty());
    }
}
