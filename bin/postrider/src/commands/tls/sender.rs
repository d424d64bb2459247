//! Who would send the message, as the running server says it, and what of it is left out.

use postrider_core::control::protocol::{DeliveryDetails, DeliverySender};

use crate::arguments::TlsSender;

/// In JSON.
pub fn word(sender: &DeliverySender) -> &'static str {
    match sender {
        DeliverySender::Anybody => "anybody",
        DeliverySender::Null => "empty",
        DeliverySender::Account => "account",
        DeliverySender::Alias { .. } => "alias",
        DeliverySender::ClosedAlias => "closed-alias",
        DeliverySender::Refused { .. } => "refused",
        DeliverySender::Unknown => "unknown",
        DeliverySender::NotOurs => "not-ours",
    }
}

/// Accounts that may send with the address of an alias.
pub fn accounts(sender: &DeliverySender) -> Option<&[String]> {
    match sender {
        DeliverySender::Alias { accounts, .. } => Some(accounts),
        _ => None,
    }
}

/// Whether there are more than [`accounts`] has.
pub fn has_more(sender: &DeliverySender) -> Option<bool> {
    match sender {
        DeliverySender::Alias { more, .. } => Some(*more),
        _ => None,
    }
}

/// Why no account's routes count, and what to do, where an address was named that isn't one account's.
pub fn reason(told: &DeliveryDetails, from: Option<&TlsSender>) -> Option<String> {
    let Some(TlsSender::Address(address)) = from else { return None };
    let domain = &address.domain;
    let domain_too = "Routes of its domain and of the server count all the same";
    Some(match &told.sender {
        DeliverySender::Alias { .. } if told.account.is_some() => return None,
        DeliverySender::Anybody | DeliverySender::Null | DeliverySender::Account => return None,
        DeliverySender::Alias { accounts, more } => format!(
            "{address} is an alias that these accounts may send with: {}{}. Their routes may differ, so routes of accounts are left \
             out: choose an account with --account",
            accounts.join(", "),
            if *more { ", and others" } else { "" }
        ),
        DeliverySender::ClosedAlias => format!(
            "{address} is an alias that nobody may send with. {domain_too}. To let its members, set allow_msg_from for it in what \
             `postrider directory export` prints, and hand that to `postrider directory apply`"
        ),
        DeliverySender::Refused { code } => format!(
            "{address} refuses its mail ({code}), and is no account's, so nobody may send with it. {domain_too}. Name an address \
             that `postrider address list` lists for an account"
        ),
        DeliverySender::Unknown => format!(
            "nobody here has the address {address}, so nobody may send with it. {domain_too}. Check how it is written (`postrider \
             address list`), or give it to an account (`postrider address add`)"
        ),
        DeliverySender::NotOurs => format!(
            "{domain} is no domain of this server, so no account may send with {address}. Only routes of the server count. Check \
             how it is written (`postrider domain list`), or add the domain (`postrider domain add`)"
        ),
    })
}
