//! Consuming input: lines in command states, content elsewhere.

use memchr::memchr;

use super::super::Reply;
use super::super::command::{Command, CommandError, decode_sasl};
use super::check::Step;
use super::{Action, Pending, Question, Session, State};

/// What came of looking at the input once.
enum Looked {
    /// This much was used.
    Used(usize),
    /// More is needed, or nothing may be used now.
    Wait,
}

impl Session {
    /// Goes on with the input that was kept.
    pub(super) fn resume(&mut self) {
        let mut input = std::mem::take(&mut self.input);
        let start = self.input_start;
        let used = start + self.consume(&input[start..]);
        if used == input.len() {
            self.input_start = 0;
            return;
        }
        // Cut off what was used only when it is the larger part: a thousand pipelined commands, each
        // with a question to wait for, would move the rest a thousand times.
        if used > input.len() / 2 {
            input.drain(..used);
            self.input_start = 0;
        } else {
            self.input_start = used;
        }
        self.input = input;
    }

    /// Uses as much of `bytes` as can be used now, and says how much.
    pub(super) fn consume(&mut self, bytes: &[u8]) -> usize {
        let mut used = 0;
        while self.actions.len() < self.limits().actions_max {
            let rest = &bytes[used..];
            let looked = match self.state {
                State::Idle | State::Transaction(_) | State::Chunked(_) | State::AuthResponse => {
                    self.look_at_line(rest)
                }
                State::Data(_) | State::Chunk { .. } | State::Discarding { .. } => {
                    self.content_step(rest).map_or(Looked::Wait, Looked::Used)
                }
                State::Asking(_) | State::StartingTls => Looked::Wait,
                State::Closed => return bytes.len(),
            };
            match looked {
                Looked::Used(octets) => used += octets,
                Looked::Wait => break,
            }
        }
        used
    }

    fn look_at_line(&mut self, rest: &[u8]) -> Looked {
        let most = match self.state {
            State::AuthResponse => self.limits().auth_line_octets_max,
            _ => self.limits().line_octets_max,
        };
        let window = &rest[..rest.len().min(most)];
        let Some(line_feed) = memchr(b'\n', window) else {
            if self.counts.lines == 0 && window.first().is_some_and(u8::is_ascii_control) {
                // A TLS handshake on a clear port, or worse; it may never send a line.
                self.close(Reply::NOT_SMTP);
            } else if window.len() == most {
                self.close(Reply::LINE_TOO_LONG);
            } else {
                return Looked::Wait;
            }
            return Looked::Used(0);
        };
        // Only a whole line earns more time, so dripping single octets does not hold the connection.
        self.idle_deadline = self.now + self.limits().command_idle;
        self.counts.lines = self.counts.lines.saturating_add(1);
        let used = line_feed + 1;
        let line = &rest[..line_feed];
        match line.split_last() {
            Some((b'\r', line)) if memchr(b'\r', line).is_none() => self.on_line(line, used < rest.len()),
            _ => self.on_broken_line(line),
        }
        Looked::Used(used)
    }

    /// A line that ends in a bare LF or holds a bare CR: never executed, but what follows is in step.
    fn on_broken_line(&mut self, line: &[u8]) {
        let text = line.strip_suffix(b"\r").unwrap_or(line);
        let is_smtp = Command::parse(text).is_ok();
        if self.counts.lines == 1 && !is_smtp {
            return self.close(Reply::NOT_SMTP);
        }
        if matches!(self.state, State::AuthResponse) {
            self.state = State::Idle;
        }
        self.strike(Reply::BARE_LINE_END);
    }

    fn on_line(&mut self, line: &[u8], has_more: bool) {
        if matches!(self.state, State::AuthResponse) {
            return self.on_auth_line(line);
        }
        match Command::parse(line) {
            Ok(command) => match self.check(command) {
                // RFC 3207 §4.2: what was said in clear after STARTTLS must not count under TLS (NO
                // STARTTLS, CVE-2011-0411), and whoever says it waits for replies that cannot come.
                Ok(Step::StartTls) if has_more => self.close(Reply::TLS_PIPELINED),
                Ok(step) => self.proceed(step),
                Err(reply) => self.refuse(reply),
            },
            Err(CommandError::Unknown | CommandError::Garbage(_)) if self.counts.lines == 1 => {
                self.close(Reply::NOT_SMTP);
            }
            Err(CommandError::BadChunk) => {
                self.abandon_message();
                self.strike(Reply::BAD_CHUNK);
            }
            Err(error) => self.strike(error.reply()),
        }
    }

    /// A refusal for good is the client's fault; one for now (too many recipients) is counted apart.
    fn refuse(&mut self, reply: Reply) {
        if reply.class() == super::Class::Permanent {
            return self.strike(reply);
        }
        self.refuse_recipient(reply);
    }

    pub(super) fn refuse_recipient(&mut self, reply: Reply) {
        self.counts.refused_recipients += 1;
        if self.counts.refused_recipients > self.limits().refused_recipients_max {
            return self.close(Reply::TOO_MANY_ERRORS);
        }
        self.send(reply);
    }

    fn on_auth_line(&mut self, line: &[u8]) {
        self.state = State::Idle;
        match decode_sasl(line) {
            Ok(response) => self.ask(Question::AuthRespond(response), Pending::Auth),
            Err(reply) => self.strike(reply),
        }
    }

    /// Counts a command that moves nothing; true when there were too many and the session is closed.
    pub(super) fn idles_too_much(&mut self) -> bool {
        self.counts.idle_commands += 1;
        let too_much = self.counts.idle_commands > self.limits().idle_commands_max;
        if too_much {
            self.close(Reply::TOO_MANY_COMMANDS);
        }
        too_much
    }

    /// Refuses a transaction's content, wherever it was.
    pub(super) fn drop_content(&mut self) {
        self.content = Vec::new();
        self.actions.push_back(Action::Discard);
    }
}
