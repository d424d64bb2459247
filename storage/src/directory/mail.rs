//! What is set for the mail that an account sends, and for the programs that are told of its mail (product 2.4, 2.7, 3.9, 10.6).

use postrider_proto::address::Address;

use super::webhook::{OutgoingWebhook, Webhook};

/// What is set for the mail of an account.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MailSettings {
    /// To how many recipients of other servers it may send in 24 hours; none is what the configuration says.
    pub recipients_per_day: Option<u32>,
    /// How many of them may be such as it never wrote to before; none is what the configuration says.
    pub first_time_recipients_per_day: Option<u32>,
    /// Who logs in with one of these sends each message with an id of its own in the reverse path.
    pub from_id_logins: Vec<Address>,
    /// For how many seconds it is known what became of a message; 0 is not at all, none is what the configuration says.
    pub keep_retired_messages: Option<u32>,
    /// For how many seconds it is known what became of a call of a webhook; none and 0 are not at all.
    pub keep_retired_webhooks: Option<u32>,
    /// Who is told of messages that it sent.
    pub outgoing_webhook: Option<OutgoingWebhook>,
    /// Who is told of messages that came.
    pub incoming_webhook: Option<Webhook>,
}

impl MailSettings {
    /// Nothing is set.
    pub const NONE: Self = Self {
        recipients_per_day: None,
        first_time_recipients_per_day: None,
        from_id_logins: Vec::new(),
        keep_retired_messages: None,
        keep_retired_webhooks: None,
        outgoing_webhook: None,
        incoming_webhook: None,
    };
    /// The most login addresses with ids.
    pub const FROM_ID_LOGINS_MAX: usize = 100;
    /// The longest time for which something is kept, in seconds: ten years.
    pub const KEEP_SECONDS_MAX: u32 = 3650 * 24 * 60 * 60;
    /// How long it is known what became of messages with ids, in seconds, when nothing else is said: reports on them that come
    /// later are about nothing.
    pub const KEEP_WITH_FROM_ID: u32 = 7 * 24 * 60 * 60;

    /// Whether nothing is set.
    pub fn is_empty(&self) -> bool {
        *self == Self::NONE
    }

    /// Whether messages of who logged in as `login` have ids of their own.
    pub fn has_from_id(&self, login: &str) -> bool {
        if self.from_id_logins.is_empty() {
            return false;
        }
        let Ok(login) = Address::parse(login) else { return false };
        // Whether case matters before the `@` is the domain's; who may log in as `Anna` is `anna` here in any case.
        let is_it = |address: &Address| {
            address.domain == login.domain
                && address.localpart.as_str().eq_ignore_ascii_case(login.localpart.as_str())
        };
        self.from_id_logins.iter().any(is_it)
    }

    /// For how many seconds it is known what became of a message; none is not at all. `configured` is what the
    /// configuration says.
    pub fn keep_messages(&self, configured: Option<u32>) -> Option<u32> {
        let usual = match (configured, self.from_id_logins.is_empty()) {
            (None, false) => Some(Self::KEEP_WITH_FROM_ID),
            (configured, _) => configured,
        };
        self.keep_retired_messages.or(usual).filter(|seconds| *seconds > 0)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn messages_with_ids_are_known_for_a_week_unless_said_otherwise() {
        let week = Some(MailSettings::KEEP_WITH_FROM_ID);
        let with = |set: Option<u32>, logins: &[&str]| MailSettings {
            keep_retired_messages: set,
            from_id_logins: logins.iter().map(|login| Address::parse(login).unwrap()).collect(),
            ..MailSettings::default()
        };
        for (set, logins, configured, expected) in [
            (None, &[][..], None, None),
            (None, &[], Some(5), Some(5)),
            (None, &["a@b.example"], None, week),
            (None, &["a@b.example"], Some(5), Some(5)),
            (Some(0), &["a@b.example"], Some(5), None),
            (Some(9), &["a@b.example"], Some(5), Some(9)),
            (Some(9), &[], None, Some(9)),
        ] {
            let settings = with(set, logins);
            assert_eq!(settings.keep_messages(configured), expected, "{settings:?} {configured:?}");
        }
    }

    #[test]
    fn a_login_is_known_in_any_case() {
        let logins = vec![Address::parse("Anna@b.example").unwrap()];
        let settings = MailSettings { from_id_logins: logins, ..MailSettings::default() };
        assert!(settings.has_from_id("anna@B.example"));
        assert!(!settings.has_from_id("anna") && !settings.has_from_id("ann@b.example"));
    }
}
