//! Keys of what is to be sent, and of what is known for sending.

use super::{BadKey, Key, SYSTEM, bad, build, numbers, split, table, time, to_time};
use crate::ids::{AccountId, EmailId, QueueId, RuleId};
use crate::tls_results::{Order, TlsResultId};

/// An entry of the queue.
pub fn queue(id: QueueId) -> Key {
    build(SYSTEM, table::QUEUE, &[&id.0.to_be_bytes()])
}

/// One recipient of an entry.
pub fn queue_recipient(id: QueueId, recipient: u32) -> Key {
    build(SYSTEM, table::QUEUERCPT, &[&id.0.to_be_bytes(), &recipient.to_be_bytes()])
}

/// The prefix of an entry's recipients.
pub fn queue_recipients(id: QueueId) -> Key {
    build(SYSTEM, table::QUEUERCPT, &[&id.0.to_be_bytes()])
}

/// An entry's header fields in front of its content.
pub fn queue_prefix(id: QueueId) -> Key {
    build(SYSTEM, table::QUEUEPREFIX, &[&id.0.to_be_bytes()])
}

/// An entry by the hash of its domain and the time of its next attempt.
pub fn queue_due(domain: u64, due: i64, id: QueueId) -> Key {
    build(SYSTEM, table::QUEUEDUE, &[&domain.to_be_bytes(), &time(due), &id.0.to_be_bytes()])
}

/// The prefix of all entries of a domain.
pub fn queue_domain(domain: u64) -> Key {
    build(SYSTEM, table::QUEUEDUE, &[&domain.to_be_bytes()])
}

/// Domain, time and entry of a key of the schedule.
pub fn queue_due_parts(key: &[u8]) -> Result<(u64, i64, QueueId), BadKey> {
    let [domain, due, id] = numbers(key, [8, 8, 8])?;
    Ok((domain, to_time(due), QueueId(id)))
}

/// A recipient in the schedule of format 1.
pub fn queue_due_v1(due: i64, id: QueueId, recipient: u32) -> Key {
    build(SYSTEM, table::QUEUEDUE_V1, &[&time(due), &id.0.to_be_bytes(), &recipient.to_be_bytes()])
}

/// An entry by the account that submitted it, [`SYSTEM`] for none.
pub fn queue_owner(sender: u32, id: QueueId) -> Key {
    build(SYSTEM, table::QUEUEOWNER, &[&sender.to_be_bytes(), &id.0.to_be_bytes()])
}

/// The prefix of all entries of an account.
pub fn queue_owned(sender: u32) -> Key {
    build(SYSTEM, table::QUEUEOWNER, &[&sender.to_be_bytes()])
}

/// The mark of an entry that is being delivered.
pub fn queue_claimed(id: QueueId) -> Key {
    build(SYSTEM, table::CLAIMED, &[&id.0.to_be_bytes()])
}

/// A rule that holds entries; 0 is the row of the next id.
pub fn hold_rule(rule: RuleId) -> Key {
    build(SYSTEM, table::HOLDRULE, &[&rule.0.to_be_bytes()])
}

/// What became of a recipient, kept until a time.
pub fn retired(until: i64, id: QueueId, recipient: u32) -> Key {
    build(SYSTEM, table::RETIRED, &[&time(until), &id.0.to_be_bytes(), &recipient.to_be_bytes()])
}

/// Time, entry and recipient of a key of RETIRED.
pub fn retired_parts(key: &[u8]) -> Result<(i64, QueueId, u32), BadKey> {
    let [until, id, recipient] = numbers(key, [8, 8, 4])?;
    Ok((to_time(until), QueueId(id), u32::try_from(recipient).map_err(|_| bad(key))?))
}

/// An address to which mail of an account isn't sent, by its base.
pub fn suppression(account: AccountId, base: &str) -> Key {
    build(SYSTEM, table::SUPPRESSION, &[&account.get().to_be_bytes(), base.as_bytes()])
}

/// The prefix of an account's suppressed addresses.
pub fn suppressions(account: AccountId) -> Key {
    build(SYSTEM, table::SUPPRESSION, &[&account.get().to_be_bytes()])
}

/// The account and the base address of a key of SUPPRESSION.
pub fn suppression_parts(key: &[u8]) -> Result<(AccountId, &str), BadKey> {
    let (_, _, rest) = split(key)?;
    let (account, base) = rest.split_first_chunk::<4>().ok_or_else(|| bad(key))?;
    let account = AccountId::new(u32::from_be_bytes(*account)).ok_or_else(|| bad(key))?;
    Ok((account, std::str::from_utf8(base).map_err(|_| bad(key))?))
}

/// How often mail of an account to an address failed, by the address's hash.
pub fn strikes(account: AccountId, address: u64) -> Key {
    build(SYSTEM, table::STRIKES, &[&account.get().to_be_bytes(), &address.to_be_bytes()])
}

/// The prefix of what is counted of an account's failures.
pub fn strikes_of(account: AccountId) -> Key {
    build(SYSTEM, table::STRIKES, &[&account.get().to_be_bytes()])
}

/// Where a message of an account is by the id in its reverse path.
pub fn from_id(account: u32, id: &str) -> Key {
    build(SYSTEM, table::FROMID, &[&account.to_be_bytes(), id.as_bytes()])
}

/// Account and id of a key of FROMID.
pub fn from_id_parts(key: &[u8]) -> Result<(u32, &str), BadKey> {
    let (_, _, rest) = split(key)?;
    let (account, id) = rest.split_first_chunk::<4>().ok_or_else(|| bad(key))?;
    Ok((u32::from_be_bytes(*account), std::str::from_utf8(id).map_err(|_| bad(key))?))
}

/// What programs are told of an entry's message.
pub fn queue_meta(id: QueueId) -> Key {
    build(SYSTEM, table::QUEUEMETA, &[&id.0.to_be_bytes()])
}

/// A message of an account that came for an id, and is to be looked at.
pub fn incoming_report(account: AccountId, email: EmailId) -> Key {
    build(SYSTEM, table::INCOMINGREPORT, &[&account.get().to_be_bytes(), &email.0.to_be_bytes()])
}

/// The policy of a domain.
pub fn mta_sts(domain: &str) -> Key {
    build(SYSTEM, table::MTASTS, &[domain.as_bytes()])
}

/// The domain that ends a key of MTASTS or TLSKNOWN.
pub fn domain_of(key: &[u8]) -> Result<&str, BadKey> {
    let (_, _, rest) = split(key)?;
    std::str::from_utf8(rest).map_err(|_| bad(key))
}

/// An address to which no reports are sent.
pub fn report_suppression(address: &str) -> Key {
    build(SYSTEM, table::REPORTSUPPRESS, &[address.as_bytes()])
}

/// The address of a key of REPORTSUPPRESS.
pub fn report_suppression_address(key: &[u8]) -> Result<&str, BadKey> {
    let (_, _, rest) = split(key)?;
    std::str::from_utf8(rest).ok().filter(|address| !address.is_empty()).ok_or_else(|| bad(key))
}

/// How TLS with the servers of a domain went.
pub fn tls_result(id: &TlsResultId) -> Key {
    let (first, second) = match id.order {
        Order::ByRecipient => (&id.recipient, &id.policy_domain),
        Order::ByPolicy => (&id.policy_domain, &id.recipient),
    };
    let mut key = tls_results_of(id.day, id.order, first);
    key.push(u8::from(id.is_host));
    key.extend_from_slice(second.as_bytes());
    key
}

/// The prefix of all results of a domain in an order.
pub fn tls_results_of(day: u32, order: Order, first: &str) -> Key {
    let mut key = tls_results_in(day, order);
    key.extend_from_slice(first.as_bytes());
    key.push(0);
    key
}

/// The prefix of all results of a day in an order.
pub fn tls_results_in(day: u32, order: Order) -> Key {
    build(SYSTEM, table::TLSRESULT, &[&day.to_be_bytes(), &[order as u8]])
}

/// The first possible key of results from a day on.
pub fn tls_results_from(day: u32) -> Key {
    build(SYSTEM, table::TLSRESULT, &[&day.to_be_bytes()])
}

/// What a key of TLSRESULT says.
pub fn tls_result_id(key: &[u8]) -> Result<TlsResultId, BadKey> {
    let (_, _, rest) = split(key)?;
    let read = || {
        let (day, rest) = rest.split_first_chunk::<4>()?;
        let (order, rest) = rest.split_first()?;
        let end = rest.iter().position(|octet| *octet == 0)?;
        let (first, [_, is_host, second @ ..]) = rest.split_at(end) else { return None };
        let domain = |octets| std::str::from_utf8(octets).ok().filter(|text| !text.is_empty()).map(Box::from);
        let (first, second): (Box<str>, Box<str>) = (domain(first)?, domain(second)?);
        let (order, recipient, policy_domain) = match order {
            0 => (Order::ByRecipient, first, second),
            1 => (Order::ByPolicy, second, first),
            _ => return None,
        };
        let is_host = match is_host {
            0 => false,
            1 => true,
            _ => return None,
        };
        Some(TlsResultId { day: u32::from_be_bytes(*day), order, recipient, policy_domain, is_host })
    };
    read().ok_or_else(|| bad(key))
}
