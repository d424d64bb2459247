//! GETQUOTA, GETQUOTAROOT, SETQUOTA (RFC 9208): all mailboxes of an account have one quota root, as long
//! as the directory limits anything. That of another user is called as what the names of its mailboxes begin
//! with, and told to who may read one of them (RFC 9208 §6).

use postrider_proto::imap::command::MailboxArgument;
use postrider_proto::imap::mailbox::MailboxName;
use postrider_proto::imap::response::{Code, QuotaResource, write_quota, write_quota_root};
use postrider_storage::account::Account;

use crate::imap::places::{self, Deed, Place, permit};
use crate::imap::session::{AccountContext, Completion, Ended};

/// The name of the one root.
const ROOT: &str = "";
/// STORAGE counts in units of so many octets (RFC 9208 §5.1).
const STORAGE_UNIT: u64 = 1024;

/// SETQUOTA: only the directory's owner sets quotas (RFC 9208 §4.1.3; QUOTASET isn't announced).
pub(in crate::imap) const SET_QUOTA: Completion =
    Completion::refused(Code::NoPerm, "quotas are set by the administrator");

const NO_SUCH_ROOT: Completion = Completion::refused(Code::NonExistent, "no such quota root");

/// GETQUOTA.
pub(in crate::imap) async fn get_quota(
    context: &mut AccountContext<'_>,
    root: &[u8],
) -> Result<Completion, Ended> {
    let (name, resources) = if root == ROOT.as_bytes() {
        (ROOT, resources(&context.member.account.state()))
    } else {
        let Ok(name) = std::str::from_utf8(root) else { return Ok(NO_SUCH_ROOT) };
        match of_others(context, name).await {
            Ok(resources) => (name, resources),
            Err(refused) => return Ok(refused),
        }
    };
    if resources.is_empty() {
        return Ok(NO_SUCH_ROOT);
    }
    write_quota(&mut context.out.buffer, name, resources);
    Ok(Completion::ok("done"))
}

/// What is limited of the user whose root it is; refused as if it weren't there to who may read nothing there.
async fn of_others(context: &AccountContext<'_>, root: &str) -> Result<Vec<QuotaResource>, Completion> {
    let asker = context.asker();
    // Any name there leads to the account.
    let name = MailboxName::new(&format!("{root}{}Inbox", MailboxName::SEPARATOR));
    let name = name.ok().filter(MailboxName::is_of_others).ok_or(NO_SUCH_ROOT)?;
    let place = places::find_name(context.shard, asker, &name).await.map_err(|_| NO_SUCH_ROOT)?;
    if root_of(&place) != root {
        return Err(NO_SUCH_ROOT);
    }
    places::at(context.shard, context.id, place.account, move |_, account| {
        Box::pin(async move {
            let state = account.state();
            let reads = |id| permit(state.rights(id, asker.user, asker.anyone), Deed::Read).is_ok();
            if state.mailboxes().any(|(_, id, _)| reads(id)) {
                Ok(resources(&state))
            } else {
                Err(NO_SUCH_ROOT)
            }
        })
    })
    .await
}

/// The root of a mailbox.
fn root_of(place: &Place) -> &str {
    place.prefix().strip_suffix(MailboxName::SEPARATOR).unwrap_or(ROOT)
}

/// GETQUOTAROOT. An own mailbox need not exist: the client may want to know before it creates it.
pub(in crate::imap) async fn get_quota_root(
    context: &mut AccountContext<'_>,
    mailbox: MailboxArgument,
) -> Result<Completion, Ended> {
    let Ok(name) = &mailbox.name else {
        return Ok(Completion::refused(Code::Cannot, "no valid mailbox name"));
    };
    let asker = context.asker();
    let place = match places::find(context.shard, asker, &mailbox).await {
        Ok(place) => place,
        Err(refused) => return Ok(refused),
    };
    let resources = if place.is_of_others() {
        let wanted = place.name.clone();
        let found = places::at(context.shard, context.id, place.account, move |_, account| {
            Box::pin(async move {
                let state = account.state();
                places::enter(&state, asker, &wanted, Deed::Read)?;
                Ok(resources(&state))
            })
        });
        match found.await {
            Ok(resources) => resources,
            Err(refused) => return Ok(refused),
        }
    } else {
        resources(&context.member.account.state())
    };
    let root = (!resources.is_empty()).then(|| root_of(&place));
    let (out, utf8) = (&mut context.out.buffer, context.member.enabled.utf8);
    write_quota_root(out, utf8, name.as_str(), root);
    if let Some(root) = root {
        write_quota(out, root, resources);
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
