//! Answers to questions. Each pair of question and answer has a defined next state.

use std::time::Instant;

use super::super::Reply;
use super::super::command::encode_sasl;
use super::super::reply::Class;
use super::{Answer, Hello, Opening, Pace, Pending, Session, Shutdown, State};

impl Session {
    /// Answers the open question. Without one, nothing happens.
    pub fn answer(&mut self, answer: Answer, now: Instant) {
        self.now = now;
        let pending = match std::mem::replace(&mut self.state, State::Idle) {
            State::Asking(pending) => pending,
            other => {
                self.state = other;
                return;
            }
        };
        self.idle_deadline = now + self.limits().command_idle;
        let closes = matches!(&answer, Answer::Refuse(reply) | Answer::AuthFailed(reply) | Answer::Delivered(reply)
            if reply.is_closing());
        match pending {
            Pending::Hello(pending) => self.answer_hello(pending.0, pending.1, answer),
            Pending::Auth => self.answer_auth(answer),
            Pending::Sender(envelope) => match answer {
                Answer::Proceed => {
                    self.state = State::Transaction(envelope);
                    self.send(Reply::SENDER_OK);
                }
                other => self.send(refusal(other)),
            },
            Pending::Recipient(pending) => {
                let (mut envelope, mut recipient) = *pending;
                if let Answer::Recipient(token) = answer {
                    recipient.token = token;
                    envelope.recipients.push(recipient);
                    self.state = State::Transaction(Box::new(envelope));
                    self.send(Reply::RECIPIENT_OK);
                } else {
                    self.state = State::Transaction(Box::new(envelope));
                    self.refuse_recipient(refusal(answer));
                }
            }
            Pending::Content(envelope, opening) => match answer {
                Answer::Proceed => self.open_content(envelope, opening),
                other => self.refuse_content(opening, refusal(other)),
            },
            Pending::Deliver => {
                let reply = match answer {
                    Answer::Delivered(reply) => reply,
                    other => refusal(other),
                };
                self.count_delivery(&reply);
                self.send(reply);
            }
        }
        self.after_answer(closes);
    }

    /// Closes when the driver said so, or had said so while the question was open.
    fn after_answer(&mut self, closes: bool) {
        if closes && !self.is_closed() {
            self.abandon_message();
            self.actions.push_back(super::Action::Close);
            self.state = State::Closed;
        } else if self.shutdown == Shutdown::Soon {
            self.shutdown();
        }
        self.forget_if_closed();
    }

    fn open_content(&mut self, envelope: Box<super::Envelope>, opening: Opening) {
        if let Opening::Chunk(chunk) = opening
            && self.is_one_tiny_chunk_too_many(chunk)
        {
            self.drop_content();
            return self.close(Reply::TOO_MANY_CHUNKS);
        }
        self.begin_content(envelope, opening);
        // A chunk of nothing needs no input to be complete.
        self.consume(&[]);
    }

    fn answer_hello(&mut self, hello: Hello, before: State, answer: Answer) {
        self.state = before;
        match answer {
            Answer::Proceed => {
                self.abandon_message();
                self.send(self.hello_reply(hello.dialect));
                self.hello = Some(Box::new(hello));
            }
            other => self.strike(refusal(other)),
        }
    }

    fn answer_auth(&mut self, answer: Answer) {
        match answer {
            Answer::AuthChallenge(octets) => {
                let challenge = Reply::plain(Class::Intermediate, 34, "").with_text(encode_sasl(&octets));
                self.send(challenge);
                self.state = State::AuthResponse;
            }
            Answer::AuthSucceeded { login } => {
                if self.counts.auth_failures >= self.limits().auth_failures_free {
                    self.set_pace(Pace::Normal);
                }
                self.counts.auth_failures = 0;
                self.login = Some(login);
                self.send(Reply::AUTHENTICATED);
            }
            Answer::AuthFailed(reply) => self.count_auth_failure(reply),
            other => self.strike(refusal(other)),
        }
    }

    fn count_auth_failure(&mut self, reply: Reply) {
        self.counts.auth_failures += 1;
        if self.counts.auth_failures == self.limits().auth_failures_free {
            self.set_pace(Pace::Slow);
        }
        let reply = if reply.is_refusal() { reply } else { Reply::LOCAL_ERROR };
        self.send(reply);
        if self.counts.auth_failures >= self.limits().auth_failures_max {
            self.close(Reply::TOO_MANY_AUTH_FAILURES);
        }
    }
}

/// The reply of a refusal. An answer that does not fit its question is a fault of ours, and must neither
/// accept anything nor lose the session's step.
fn refusal(answer: Answer) -> Reply {
    match answer {
        Answer::Refuse(reply) | Answer::AuthFailed(reply) if reply.is_refusal() => reply,
        _ => Reply::LOCAL_ERROR,
    }
}
