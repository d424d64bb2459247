//! Commands about rules of addresses, and about routes.

use postrider_core::control::protocol::{MailRule, Request, Route, RouteOwner, RouteRow, RuleRow};

use super::control::{list, simple};
use super::locate::Server;
use super::show::Line;
use crate::arguments::{
    AddressReports, AddressRequireAuthentication, RouteAdd, RouteCommand, RouteMove, RouteRm, RuleAdd,
    RuleCommand, RuleMove, RuleRm,
};

/// What senders are told who are not told anything else.
const AUTHENTICATE: &str = "mail to this address must be authenticated by SPF, DKIM or DMARC";

/// `postrider address rules`
pub fn rules(server: &Server, command: RuleCommand) -> anyhow::Result<()> {
    match command {
        RuleCommand::List(arguments) => {
            list::<RuleRow>(server, &Request::AddressRuleList { address: arguments.address }, arguments.json)
        }
        RuleCommand::Add(arguments) => add_rule(server, arguments),
        RuleCommand::Rm(RuleRm { address, number }) => {
            let done = format!("Rule {number} of {address} is removed.");
            simple(server, &Request::AddressRuleRemove { address, number }, &done)
        }
        RuleCommand::Move(RuleMove { address, number, to }) => {
            let done = format!("Rule {number} of {address} is rule {to} now.");
            simple(server, &Request::AddressRuleMove { address, number, to }, &done)
        }
    }
}

fn add_rule(server: &Server, arguments: RuleAdd) -> anyhow::Result<()> {
    let done = format!("Address {} has one more rule.", arguments.address);
    let rule = Box::new(MailRule {
        mail_from: arguments.mail_from,
        msg_from: arguments.msg_from,
        verified_domain: arguments.verified_domain,
        headers: arguments.header,
        mailbox: arguments.mailbox,
        is_forward: arguments.forward,
        list_allow_domain: arguments.list_allow,
        accept_rejects_to: arguments.accept_rejects_to,
        comment: arguments.comment,
    });
    let request = Request::AddressRuleAdd { address: arguments.address, at: arguments.at, rule };
    simple(server, &request, &done)
}

/// `postrider address require-authentication`
pub fn require_authentication(
    server: &Server,
    arguments: AddressRequireAuthentication,
) -> anyhow::Result<()> {
    let AddressRequireAuthentication { off, address, text } = arguments;
    if off && text.is_some() {
        anyhow::bail!("with --off nothing is refused; leave out the text");
    }
    let (done, text) = if off {
        (format!("Mail to {address} is taken also when nothing confirms its author."), None)
    } else {
        let text = text.unwrap_or_else(|| AUTHENTICATE.to_owned());
        (format!("Mail to {address} is refused when nothing confirms its author."), Some(text))
    };
    simple(server, &Request::AddressRequireAuthentication { address, text }, &done)
}

/// `postrider address reports`
pub fn reports(server: &Server, arguments: AddressReports) -> anyhow::Result<()> {
    let AddressReports { off, address, kinds } = arguments;
    if off != kinds.is_empty() {
        anyhow::bail!("write which reports are read there, dmarc or tls or both, or --off for none");
    }
    let done = if off {
        format!("No reports are read at {address}.")
    } else {
        format!("Reports that come to {address} are read: {}.", kinds.join(", "))
    };
    simple(server, &Request::AddressReports { address, kinds }, &done)
}

/// `postrider account routes` and `postrider domain routes`
pub fn routes(server: &Server, owner: fn(String) -> RouteOwner, command: RouteCommand) -> anyhow::Result<()> {
    match command {
        RouteCommand::List(arguments) => {
            list::<RouteRow>(server, &Request::RouteList { of: owner(arguments.owner) }, arguments.json)
        }
        RouteCommand::Add(RouteAdd { at, from, to, minimum_attempts, owner: name, transport }) => {
            let done = format!("{name} has one more route, by {transport}.");
            let route = Route { from_domains: from, to_domains: to, minimum_attempts, transport };
            simple(server, &Request::RouteAdd { of: owner(name), at, route }, &done)
        }
        RouteCommand::Rm(RouteRm { owner: name, number }) => {
            let done = format!("Route {number} of {name} is removed.");
            simple(server, &Request::RouteRemove { of: owner(name), number }, &done)
        }
        RouteCommand::Move(RouteMove { owner: name, number, to }) => {
            let done = format!("Route {number} of {name} is route {to} now.");
            simple(server, &Request::RouteMove { of: owner(name), number, to }, &done)
        }
    }
}

impl Line for RuleRow {
    fn line(&self) -> String {
        let rule = &self.rule;
        let mut parts = Vec::new();
        let mut part = |name: &str, value: Option<&String>| {
            parts.extend(value.filter(|value| !value.is_empty()).map(|value| format!("{name} {value}")));
        };
        part("mail-from", rule.mail_from.as_ref());
        part("msg-from", rule.msg_from.as_ref());
        part("verified-domain", rule.verified_domain.as_ref());
        for (name, value) in &rule.headers {
            part("header", Some(&format!("{name}={value}")));
        }
        part("mailbox", rule.mailbox.as_ref());
        part("list-allow", rule.list_allow_domain.as_ref());
        part("accept-rejects-to", rule.accept_rejects_to.as_ref());
        part("comment", Some(&rule.comment));
        if rule.is_forward {
            parts.push("forward".to_owned());
        }
        format!("{}\t{}", self.number, parts.join("\t"))
    }
}

impl Line for RouteRow {
    fn line(&self) -> String {
        let side = |domains: &[String]| match domains {
            [] => "any".to_owned(),
            domains => domains.join(" "),
        };
        let Route { from_domains, to_domains, minimum_attempts, transport } = &self.route;
        let (from, to) = (side(from_domains), side(to_domains));
        let attempts = match minimum_attempts {
            0 => String::new(),
            attempts => format!("\tfrom attempt {} on", u64::from(*attempts) + 1),
        };
        format!("{}\tfrom {from}\tto {to}\tby {transport}{attempts}", self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_and_routes_are_lines() {
        let rule = MailRule {
            mail_from: Some("^a@".to_owned()),
            verified_domain: Some("x.example".to_owned()),
            headers: vec![("list-id".to_owned(), "<x>".to_owned())],
            is_forward: true,
            ..MailRule::default()
        };
        let line = RuleRow { number: 2, rule }.line();
        assert_eq!(line, "2\tmail-from ^a@\tverified-domain x.example\theader list-id=<x>\tforward");
        let to_domains = vec![".example.net".to_owned(), "x.example".to_owned()];
        let route =
            Route { from_domains: vec![], to_domains, minimum_attempts: 3, transport: "relay".to_owned() };
        let line = RouteRow { number: 1, route }.line();
        assert_eq!(line, "1\tfrom any\tto .example.net x.example\tby relay\tfrom attempt 4 on");
    }
}
