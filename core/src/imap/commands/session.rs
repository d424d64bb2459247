//! CAPABILITY, ENABLE, ID, NAMESPACE (RFC 9051 §6.1.1 and §6.3, RFC 5161, RFC 2971, RFC 2342).

use postrider_proto::imap::command::{Enable, Extension, Id, Utf8};
use postrider_proto::imap::response::{write_capability, write_enabled, write_id, write_namespace};
use tracing::debug;

use crate::imap::answers;
use crate::imap::capability::is_disabled;
use crate::imap::connection::Connection;
use crate::imap::places;
use crate::imap::session::{AccountContext, Completion, Ended};

/// Octets of what a client says of itself that are logged.
const ID_OCTETS_MAX: usize = 200;

impl Connection {
    /// CAPABILITY.
    pub(in crate::imap) fn capability(&mut self) -> Completion {
        let names = self.capabilities();
        write_capability(&mut self.out.buffer, &names);
        Completion::ok("done")
    }

    /// ID. The version is for users only.
    pub(in crate::imap) fn id(&mut self, id: &Id) -> Completion {
        let mut told = String::new();
        for (field, value) in &id.fields {
            if told.len() < ID_OCTETS_MAX {
                told.extend([&**field, "=", value.as_deref().unwrap_or("NIL"), " "]);
            }
        }
        debug!(cid = %self.peer.id, client = ?told.trim_end(), "client identifies itself");
        let name = ("name", Some("Postrider"));
        let version = ("version", Some(env!("CARGO_PKG_VERSION")));
        let fields: &[_] = if self.member.is_some() { &[name, version] } else { &[name] };
        write_id(&mut self.out.buffer, fields);
        Completion::ok("done")
    }
}

/// NAMESPACE. There is one of other users where something of theirs is shared with this one.
pub(in crate::imap) async fn namespace(context: &mut AccountContext<'_>) -> Completion {
    context.member.account.reads().calm().await;
    match places::is_shared_with(&context.member.account.reader(), context.asker()) {
        Ok(others) => {
            write_namespace(&mut context.out.buffer, others);
            Completion::ok("done")
        }
        Err(error) => answers::store_failed(&error, context.id),
    }
}

/// ENABLE.
pub(in crate::imap) async fn enable(
    context: &mut AccountContext<'_>,
    command: Enable,
) -> Result<Completion, Ended> {
    let disabled = |extension: &Extension| is_disabled(context.listener, extension.name());
    let extensions: Vec<_> =
        command.extensions.into_iter().filter(|extension| !disabled(extension)).collect();
    for extension in &extensions {
        let enabled = &mut context.member.enabled;
        match extension {
            Extension::Imap4Rev2 => {
                enabled.rev2 = true;
                if enabled.utf8 == Utf8::Off {
                    enabled.utf8 = Utf8::Rev2;
                }
            }
            Extension::Utf8Accept => enabled.utf8 = Utf8::Accept,
            Extension::Condstore => context.enable_condstore(),
            Extension::Qresync => {
                enabled.qresync = true;
                context.enable_condstore();
            }
            Extension::UidOnly => enabled.uid_only = true,
        }
    }
    write_enabled(&mut context.out.buffer, &extensions);
    Ok(Completion::ok("enabled"))
}
