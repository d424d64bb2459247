//! GETQUOTA, GETQUOTAROOT, SETQUOTA (RFC 9208): all mailboxes of an account have one quota root, as long
//! as the directory limits anything.

use postrider_proto::imap::command::MailboxArgument;
use postrider_proto::imap::response::{Code, QuotaResource, write_quota, write_quota_root};
use postrider_storage::account::Account;

use crate::imap::places::{self, Deed};
use crate::imap::session::{AccountContext, Completion, Ended};

/// The name of the one root.
const ROOT: &str = "";
/// STORAGE counts in units of so many octets (RFC 9208 §5.1).
const STORAGE_UNIT: u64 = 1024;

/// SETQUOTA: only the directory's owner sets quotas (RFC 9208 §4.1.3; QUOTASET isn't announced).
pub(in crate::imap) const SET_QUOTA: Completion =
    Completion::refused(Code::NoPerm, "quotas are set by the administrator");

/// GETQUOTA.
pub(in crate::imap) fn get_quota(context: &mut AccountContext<'_>, root: &[u8]) -> Completion {
    let resources = resources(&context.member.account.state());
    if root != ROOT.as_bytes() || resources.is_empty() {
        return Completion::refused(Code::NonExistent, "no such quota root");
    }
    write_quota(&mut context.out.buffer, ROOT, resources);
    Completion::ok("done")
}

/// GETQUOTAROOT. The mailbox need not exist: the client may want to know before it creates it. What another
/// user's mailboxes count against is that user's affair, and told as no root.
pub(in crate::imap) async fn get_quota_root(
    context: &mut AccountContext<'_>,
    mailbox: MailboxArgument,
) -> Result<Completion, Ended> {
    let Ok(name) = &mailbox.name else {
        return Ok(Completion::refused(Code::Cannot, "no valid mailbox name"));
    };
    if name.is_of_others() {
        let asker = context.asker();
        let found = async {
            let place = places::find(context.shard, asker, &mailbox).await?;
            places::visit(context.shard, asker, &place, Deed::Read).await
        };
        return Ok(match found.await {
            Ok(_) => {
                let (out, utf8) = (&mut context.out.buffer, context.member.enabled.utf8);
                write_quota_root(out, utf8, name.as_str(), None);
                Completion::ok("done")
            }
            Err(refused) => refused,
        });
    }
    let resources = resources(&context.member.account.state());
    let root = (!resources.is_empty()).then_some(ROOT);
    let (out, utf8) = (&mut context.out.buffer, context.member.enabled.utf8);
    write_quota_root(out, utf8, name.as_str(), root);
    if root.is_some() {
        write_quota(out, ROOT, resources);
    }
    Ok(Completion::ok("done"))
}

/// What is limited.
fn resources(state: &Account) -> Vec<QuotaResource> {
    let Some(head) = state.head() else { return Vec::new() };
    let units = |octets: u64| octets.div_ceil(STORAGE_UNIT);
    let quota = state.quota();
    let storage = quota.octets.map(|limit| QuotaResource {
        name: "STORAGE",
        usage: units(head.quota_used),
        limit: units(limit),
    });
    let messages = quota.messages.map(|limit| QuotaResource { name: "MESSAGE", usage: head.messages, limit });
    storage.into_iter().chain(messages).collect()
}
