//! `postrider sendmail`, also when the program is called as `sendmail`: takes a message of a program on this machine
//! and submits it. `docs/sendmail.md` describes it for users.
//!
//! Always holds: a message that was read whole is either taken by the server for all its recipients, or kept in a
//! file whose name is said; only when that fails too does a message get lost, and that is said as well.

mod again;
mod config;
mod exit;
mod failures;
mod lists;
mod message;
mod submit;
#[cfg(test)]
mod tests;
mod words;

use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::ExitCode;

use jiff::Zoned;
use nix::unistd::{Gid, Uid, User, getegid, geteuid, getgid, getuid, setresgid, setresuid};
use postrider_proto::address::{Domain, ForwardPath, HeloName, ReversePath};
use postrider_proto::smtp::envelope::{BodyType, Envelope, Recipient};
use rustls::crypto::ring;

use crate::arguments::{Early, Top};
use crate::terminal;
use config::{Config, RequireTls};
use exit::{Code, Failed};
use failures::{Unsent, comment};
use message::{Caller, Content, Spool};
use submit::{Verdict, submit};
use words::{Job, Order};

/// Runs it with the words after its name.
pub fn run(words: &[String]) -> ExitCode {
    match words::read(words) {
        Ok(Job::Submit(order)) => match order_of(&order) {
            Ok(()) => ExitCode::SUCCESS,
            Err(failed) => fail(&failed),
        },
        Ok(Job::Again(order, files)) => match again(&order, &files) {
            Ok(()) => ExitCode::SUCCESS,
            Err(failed) => fail(&failed),
        },
        Ok(Job::Help) => {
            let help = ["sendmail".to_owned(), "--help".to_owned()];
            if let Err(Early::Help(text)) = Top::parse(&help) {
                terminal::print(text.trim_end());
            }
            ExitCode::SUCCESS
        }
        Ok(Job::ShowQueue) => {
            terminal::print(
                "Mail queue is empty: what is submitted waits at the server (postrider queue list)",
            );
            ExitCode::SUCCESS
        }
        Ok(Job::Nothing) => ExitCode::SUCCESS,
        Err(problem) => fail(&Failed::new(Code::Usage, format!("{problem}. See postrider sendmail --help"))),
    }
}

/// Arguments that aren't UTF-8.
pub fn refuse_argument(problem: &str) -> ExitCode {
    fail(&Failed::new(Code::Usage, problem))
}

fn fail(failed: &Failed) -> ExitCode {
    terminal::complain(&failed.text);
    ExitCode::from(failed.code as u8)
}

/// Where everything comes from that isn't the message.
struct Surroundings {
    config: Config,
    caller: Caller,
    hello: HeloName,
    home: Option<PathBuf>,
}

fn order_of(order: &Order) -> Result<(), Failed> {
    order.check()?;
    let (config, unusable) = match configuration(order)? {
        Ok(config) => (config, None),
        Err(failed) => (Config::default(), Some(failed)),
    };
    let surroundings = Surroundings::find(config)?;
    let input = &mut BufReader::new(std::io::stdin().lock());
    match unusable {
        None => deliver(order, &surroundings, input),
        // Whose mistake it is, the caller's message is none the less worth keeping.
        Some(failed) => {
            let spool = Spool::read(input, order.ignores_dot, surroundings.config.message_octets_max)?;
            Err(surroundings.keep_and_tell(&mut as_read(order, spool, failed)))
        }
    }
}

/// Submits messages that were kept. What their files say of a configuration doesn't count.
fn again(order: &Order, files: &[String]) -> Result<(), Failed> {
    let mut surroundings = Surroundings::find(configuration(order)??)?;
    again::run(files, &mut surroundings, order.verbose)
}

/// Reads the configuration, and gives up a group or user that the program was lent for reading it (setgid): the rest
/// is done as who calls. A caller that names another file can't use what was lent, or it would hand them out. The inner
/// error is of the configuration; after the outer one nothing may be done any more.
fn configuration(order: &Order) -> Result<Result<Config, Failed>, Failed> {
    let is_lent = getuid() != geteuid() || getgid() != getegid();
    let variable = std::env::var_os(config::VARIABLE).filter(|file| !file.is_empty() && !is_lent);
    let named = order.config.as_ref().map(PathBuf::from);
    if is_lent && named.is_some() {
        let problem = "--config can't be used while the program runs with a group or user of another";
        return Err(Failed::new(Code::NoPermission, problem));
    }
    let named = named.or(variable.map(PathBuf::from));
    let config = Config::load(named.as_deref());
    if is_lent {
        let (user, group): (Uid, Gid) = (getuid(), getgid());
        let given = setresgid(group, group, group).and_then(|()| setresuid(user, user, user));
        given.map_err(|error| Failed::new(Code::Io, format!("can't become who calls again: {error}")))?;
    }
    Ok(config)
}

impl Surroundings {
    fn find(config: Config) -> Result<Self, Failed> {
        let system = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let hello = config.hostname.clone().or_else(|| HeloName::parse(&system).ok());
        let hello = hello.unwrap_or_else(|| HeloName::Other("localhost".into()));
        let domain = config.default_domain.clone().or_else(|| hello.domain().cloned());
        let domain = domain.or_else(|| Domain::parse("localhost").ok());
        let domain = domain.ok_or_else(|| Failed::new(Code::Config, "there is no default_domain"))?;
        let user = User::from_uid(getuid()).ok().flatten();
        let user = user.map_or_else(|| format!("uid{}", getuid()), |user| user.name);
        let now = Zoned::now();
        let caller = Caller {
            user,
            domain,
            date: now.strftime("%a, %d %b %Y %H:%M:%S %z").to_string(),
            unique: format!("{}.{}", now.strftime("%Y%m%d%H%M%S"), random()?),
        };
        Ok(Self { config, caller, hello, home: std::env::home_dir() })
    }

    /// Keeps a message; where, or why not.
    fn keep(&self, unsent: &mut Unsent) -> Result<PathBuf, String> {
        let Some(home) = self.home.as_deref().filter(|home| home.is_absolute()) else {
            return Err("there is no home directory to keep it in".to_owned());
        };
        let kept = unsent.keep(home, &self.caller.unique);
        kept.map_err(|error| format!("it can't be kept in {}: {error}", home.display()))
    }

    /// Keeps a message, and adds to what is told of it where it is.
    fn keep_and_tell(&self, unsent: &mut Unsent) -> Failed {
        let kept = match self.keep(unsent) {
            Ok(file) => {
                format!("It is kept in {0}. To submit it again: sendmail --again {0}", file.display())
            }
            Err(why) => format!("It is lost: {why}"),
        };
        Failed::new(unsent.failed.code, format!("{}. {kept}", unsent.failed))
    }
}

/// Octets that nobody can know before, as text of letters and digits.
fn random() -> Result<String, Failed> {
    let mut octets = [0; 18];
    let filled = ring::default_provider().secure_random.fill(&mut octets);
    filled.map_err(|_| Failed::new(Code::Io, "the system has no random numbers"))?;
    Ok(octets.iter().fold(String::new(), |mut text, octet| {
        let _ = write!(text, "{octet:02x}");
        text
    }))
}

/// Reads a message, submits it, and keeps it when that fails.
fn deliver(order: &Order, surroundings: &Surroundings, input: &mut impl BufRead) -> Result<(), Failed> {
    let spool = Spool::read(input, order.ignores_dot, surroundings.config.message_octets_max)?;
    attempt(order, surroundings, spool).map_err(|mut unsent| surroundings.keep_and_tell(&mut unsent))
}

/// Submits a message. One that fails is given back with all that has to be known to submit it again.
fn attempt(order: &Order, surroundings: &Surroundings, spool: Spool) -> Result<(), Box<Unsent>> {
    let Surroundings { config, caller, hello, .. } = surroundings;
    let prepared = match message::prepare(&spool.header, order, config, caller) {
        Ok(prepared) => prepared,
        Err(failed) => return Err(Box::new(as_read(order, spool, failed))),
    };
    let unique = match random() {
        Ok(unique) => unique,
        Err(failed) => return Err(Box::new(as_read(order, spool, failed))),
    };
    let mut content = spool.with_header(prepared.header);
    let envelope = envelope(order, config, prepared.sender, prepared.recipients, &content);
    let verdicts = submit(config, hello.clone(), unique, &envelope, &mut content);
    let paths: Vec<&ForwardPath> = envelope.recipients.iter().map(|recipient| &recipient.path).collect();
    if order.verbose {
        for (path, verdict) in paths.iter().zip(&verdicts) {
            let words = verdict.as_ref().map_or_else(|failed| failed.text.as_str(), String::as_str);
            terminal::say(&format!("{path}: {words}"));
        }
    }
    let Some(code) = code_of(&verdicts) else { return Ok(()) };
    let failed: Vec<(&ForwardPath, &str)> = paths
        .iter()
        .zip(&verdicts)
        .filter_map(|(path, verdict)| Some((*path, verdict.as_ref().err()?.text.as_str())))
        .collect();
    let reason = reason(&failed, verdicts.len());
    let is_partial = failed.len() < verdicts.len();
    let what = if is_partial { "submitted, but not for all" } else { "not submitted" };
    // The recipients are those of the envelope now, and the author stands in the header.
    let order = Order { from_header: false, full_name: None, ..order.clone() };
    Err(Box::new(Unsent {
        is_partial,
        failed: Failed::new(code, format!("the message was {what}: {reason}")),
        options: order.options(),
        sender: Some(envelope.reverse_path.to_string()),
        recipients: failed.iter().map(|(path, why)| format!("{path} {}", comment(why))).collect(),
        reason,
        content,
    }))
}

/// A message that wasn't understood, as it was read: with its Bcc, by which it can be submitted again, and with what
/// the caller said of sender and recipients.
fn as_read(order: &Order, spool: Spool, failed: Failed) -> Unsent {
    let header = message::without_kept(&spool.header);
    Unsent {
        is_partial: false,
        reason: failed.text.clone(),
        failed,
        options: order.options(),
        sender: order.sender.clone(),
        recipients: order.addresses.clone(),
        content: spool.with_header(header),
    }
}

/// Why, in one line.
fn reason(failed: &[(&ForwardPath, &str)], recipients: usize) -> String {
    match failed {
        [] => String::new(),
        [(_, first), rest @ ..] if failed.len() == recipients && rest.iter().all(|(_, why)| why == first) => {
            (*first).to_owned()
        }
        [(path, why)] => format!("{path}: {why}"),
        [(path, why), ..] => format!("{} of {recipients} recipients, {path}: {why}", failed.len()),
    }
}

/// The exit code; none when all is well. A caller that tries again on [`Code::Temporary`] would send the message
/// twice to those who got it, so it isn't told that when there are such.
fn code_of(verdicts: &[Verdict]) -> Option<Code> {
    let codes: Vec<Code> =
        verdicts.iter().filter_map(|verdict| verdict.as_ref().err()).map(|failed| failed.code).collect();
    let first = *codes.first()?;
    let is_partial = codes.len() < verdicts.len();
    Some(match codes.iter().find(|code| **code == Code::Temporary) {
        Some(_) if is_partial => Code::Unavailable,
        Some(temporary) => *temporary,
        None => first,
    })
}

/// What is said to the server about the message.
fn envelope(
    order: &Order,
    config: &Config,
    sender: ReversePath,
    recipients: Vec<ForwardPath>,
    content: &Content,
) -> Envelope {
    let header_needs_utf8 = !content.header.is_ascii() && str::from_utf8(&content.header).is_ok();
    let recipient = |path| Recipient { path, notify: order.notify, original: None, token: 0 };
    Envelope {
        recipients: recipients.into_iter().map(recipient).collect(),
        body: if content.is_eight_bit { BodyType::EightBitMime } else { BodyType::SevenBit },
        smtputf8: header_needs_utf8,
        requiretls: config.requiretls == RequireTls::Yes,
        ret: order.ret,
        envelope_id: order.envelope_id.as_deref().map(Into::into),
        declared_octets: Some(content.octets),
        ..Envelope::new(sender)
    }
}
