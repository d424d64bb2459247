//! The words after `sendmail`, as programs write them: clustered single letters, with values attached or apart.
//!
//! The letters are those of Sendmail and of Postfix's `sendmail`. Options end at the first address or at `--`: a word
//! that begins with a hyphen after that is no option, so that an address of a stranger can't become one.

use postrider_proto::smtp::envelope::{Notify, Return};

use super::exit::{Code, Failed};

/// Octets of an envelope id (RFC 3461 §4.4).
const ENVELOPE_ID_OCTETS_MAX: usize = 100;

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Job {
    /// Submit a message.
    Submit(Box<Order>),
    /// Submit messages that were kept: these files.
    Again(Box<Order>, Vec<String>),
    /// Say how it is used.
    Help,
    /// Say that there is no queue here.
    ShowQueue,
    /// Nothing: what was asked for is the server's business, or needs nothing.
    Nothing,
}

/// What the words say about a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Order {
    /// `-t`: recipients are in the header as well.
    pub from_header: bool,
    /// `-f` or `-r`; `<>` and nothing at all are the null sender.
    pub sender: Option<String>,
    /// `-F`
    pub full_name: Option<String>,
    /// `-i`: a line with one dot is a part of the message.
    pub ignores_dot: bool,
    /// `-v`
    pub verbose: bool,
    /// `-N`
    pub notify: Option<Notify>,
    /// `-R`
    pub ret: Option<Return>,
    /// `-V`
    pub envelope_id: Option<String>,
    /// `--config`
    pub config: Option<String>,
    /// Each a list of addresses as in a header field.
    pub addresses: Vec<String>,
}

impl Order {
    /// Whether there can be recipients, before a message is waited for.
    pub fn check(&self) -> Result<(), Failed> {
        if self.from_header || !self.addresses.is_empty() {
            return Ok(());
        }
        let problem = "there is no recipient: name some, or take those of the header with -t";
        Err(Failed::new(Code::Usage, problem))
    }

    /// The words that say what this says of how the message is submitted, but for sender and addresses.
    pub fn options(&self) -> Vec<String> {
        let notify = self.notify.map(|notify| {
            let words = [(notify.success, "success"), (notify.failure, "failure"), (notify.delay, "delay")];
            let wanted: Vec<&str> = words.into_iter().filter_map(|(is, word)| is.then_some(word)).collect();
            if wanted.is_empty() { "-Nnever".to_owned() } else { format!("-N{}", wanted.join(",")) }
        });
        let ret = self.ret.map(|ret| match ret {
            Return::Full => "-Rfull".to_owned(),
            Return::Headers => "-Rhdrs".to_owned(),
        });
        let given = |letter: char, value: &Option<String>| {
            value.as_ref().filter(|value| !value.is_empty()).map(|value| format!("-{letter}{value}"))
        };
        let header = self.from_header.then(|| "-t".to_owned());
        [header, given('F', &self.full_name), notify, ret, given('V', &self.envelope_id)]
            .into_iter()
            .flatten()
            .collect()
    }
}

/// Reads the words. An error says what is wrong with them.
pub fn read(words: &[String]) -> Result<Job, String> {
    let mut order = Order::default();
    let mut other = None;
    let mut words = words.iter();
    let mut only_addresses = false;
    while let Some(word) = words.next() {
        if only_addresses {
            order.addresses.push(word.clone());
            continue;
        }
        match word.as_str() {
            "--" => only_addresses = true,
            "--help" => return Ok(Job::Help),
            "--again" => {
                let files = words.as_slice().to_vec();
                if files.is_empty() {
                    return Err("--again needs files that were kept".to_owned());
                }
                return Ok(Job::Again(Box::new(order), files));
            }
            "--config" => order.config = Some(words.next().ok_or("--config needs a file")?.clone()),
            long if long.starts_with("--") => match long.strip_prefix("--config=") {
                Some(file) => order.config = Some(file.to_owned()),
                None => return Err(format!("there is no option {long}")),
            },
            cluster if cluster.len() > 1 && cluster.starts_with('-') => {
                letters(&cluster[1..], &mut words, &mut order, &mut other)?;
            }
            address => {
                order.addresses.push(address.to_owned());
                // What follows is no option.
                if let Some(option) = words.as_slice().iter().find(|word| word.starts_with('-')) {
                    return Err(format!(
                        "{option:?} stands after an address: write options first, and -- before addresses"
                    ));
                }
                only_addresses = true;
            }
        }
    }
    Ok(other.unwrap_or_else(|| Job::Submit(Box::new(order))))
}

/// One word of single letters.
fn letters<'w>(
    cluster: &str,
    words: &mut impl Iterator<Item = &'w String>,
    order: &mut Order,
    other: &mut Option<Job>,
) -> Result<(), String> {
    for (at, letter) in cluster.char_indices() {
        let attached = &cluster[at + letter.len_utf8()..];
        let mut value = || match attached {
            "" => words.next().cloned().ok_or(format!("-{letter} needs a value")),
            attached => Ok(attached.to_owned()),
        };
        match letter {
            't' => order.from_header = true,
            'i' => order.ignores_dot = true,
            'v' => order.verbose = true,
            // To metoo, of news, of a gateway, of an initial submission, without aliases, and the like.
            'm' | 'c' | 'G' | 'U' | 'n' => {}
            'I' => *other = Some(Job::Nothing),
            // Their values are attached, or there are none.
            'q' => {
                *other = Some(Job::Nothing);
                return Ok(());
            }
            'd' => return Ok(()),
            'f' | 'r' => {
                // An empty value stands apart: it is the null sender.
                order.sender = Some(value()?);
                return Ok(());
            }
            'F' => {
                order.full_name = Some(value()?);
                return Ok(());
            }
            'o' => {
                // A dot that counts is one of many options of Sendmail; the others change nothing here.
                if value()?.starts_with('i') {
                    order.ignores_dot = true;
                }
                return Ok(());
            }
            'b' => {
                mode(&value()?, other)?;
                return Ok(());
            }
            'N' => {
                order.notify = Some(notify(&value()?)?);
                return Ok(());
            }
            'R' => {
                order.ret = Some(ret(&value()?)?);
                return Ok(());
            }
            'V' => {
                order.envelope_id = Some(envelope_id(value()?)?);
                return Ok(());
            }
            // Body type, configuration, error mode, hops, log tag, options, protocol, trace.
            'A' | 'B' | 'C' | 'e' | 'h' | 'L' | 'O' | 'p' | 'X' => {
                value()?;
                return Ok(());
            }
            _ => return Err(format!("there is no option -{letter}")),
        }
    }
    Ok(())
}

/// `-b`: what else than submitting.
fn mode(mode: &str, other: &mut Option<Job>) -> Result<(), String> {
    *other = match mode {
        "m" => None,
        "p" => Some(Job::ShowQueue),
        "i" => Some(Job::Nothing),
        "s" => {
            return Err(
                "-bs, SMTP on standard input, is not done here: speak SMTP with the server, or give the message \
                 on standard input without -bs"
                    .to_owned(),
            );
        }
        "d" | "D" => {
            return Err(format!("-b{mode}: the server isn't run by this command; use postrider serve"));
        }
        _ => return Err(format!("-b{mode} is not done here")),
    };
    Ok(())
}

fn notify(text: &str) -> Result<Notify, String> {
    let mut notify = Notify::default();
    if text.eq_ignore_ascii_case("never") {
        return Ok(notify);
    }
    for word in text.split(',') {
        match word.trim().to_ascii_lowercase().as_str() {
            "success" => notify.success = true,
            "failure" => notify.failure = true,
            "delay" => notify.delay = true,
            _ => {
                return Err(format!(
                    "-N {text}: write never, or some of success, failure and delay with commas"
                ));
            }
        }
    }
    Ok(notify)
}

fn ret(text: &str) -> Result<Return, String> {
    match text.to_ascii_lowercase().as_str() {
        "full" => Ok(Return::Full),
        "hdrs" => Ok(Return::Headers),
        _ => Err(format!("-R {text}: write full or hdrs")),
    }
}

fn envelope_id(text: String) -> Result<String, String> {
    let fits = !text.is_empty() && text.len() <= ENVELOPE_ID_OCTETS_MAX;
    if fits && text.bytes().all(|octet| octet.is_ascii_graphic() || octet == b' ') {
        return Ok(text);
    }
    Err(format!("-V: an envelope id is printable ASCII of at most {ENVELOPE_ID_OCTETS_MAX} characters"))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that fails may panic")]
    use super::*;

    fn words(text: &[&str]) -> Result<Job, String> {
        read(&text.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
    }

    fn order(text: &[&str]) -> Order {
        match words(text).unwrap() {
            Job::Submit(order) => *order,
            other => panic!("{text:?} is {other:?}"),
        }
    }

    #[test]
    fn what_programs_write_is_understood() {
        let plain = Order::default();
        let to = |address: &str| vec![address.to_owned()];
        let from = |sender: &str| Order { sender: Some(sender.to_owned()), ..Order::default() };
        let table: Vec<(&[&str], Order)> = vec![
            (&[], plain.clone()),
            (&["-t"], Order { from_header: true, ..plain.clone() }),
            // PHP, cron, git, mailx, smartd.
            (&["-t", "-i"], Order { from_header: true, ignores_dot: true, ..plain.clone() }),
            (&["-ti"], Order { from_header: true, ignores_dot: true, ..plain.clone() }),
            (
                &["-FCronDaemon", "-i", "-B8BITMIME", "-oem", "root"],
                Order {
                    full_name: Some("CronDaemon".into()),
                    ignores_dot: true,
                    addresses: to("root"),
                    ..plain.clone()
                },
            ),
            (
                &["-oi", "-f", "a@x.example", "--", "-b@x.example"],
                Order { ignores_dot: true, addresses: to("-b@x.example"), ..from("a@x.example") },
            ),
            (&["-tifa@x.example"], Order { from_header: true, ignores_dot: true, ..from("a@x.example") }),
            (&["-r", "a@x.example"], from("a@x.example")),
            (&["-f", ""], from("")),
            (&["-f<>"], from("<>")),
            (&["-o", "i"], Order { ignores_dot: true, ..plain.clone() }),
            (&["-oem", "-odb", "-o7", "-em", "-d0.1", "-h", "3", "-O", "x=y", "-Uc"], plain.clone()),
            (&["-bm", "-v"], Order { verbose: true, ..plain.clone() }),
            (
                &["--config", "f", "-t"],
                Order { config: Some("f".into()), from_header: true, ..plain.clone() },
            ),
            (&["--config=f"], Order { config: Some("f".into()), ..plain.clone() }),
            (
                &["-N", "success,delay", "-Rhdrs", "-V", "id 1"],
                Order {
                    notify: Some(Notify { success: true, failure: false, delay: true }),
                    ret: Some(Return::Headers),
                    envelope_id: Some("id 1".into()),
                    ..plain.clone()
                },
            ),
            (
                &["-Nnever", "-R", "FULL"],
                Order { notify: Some(Notify::default()), ret: Some(Return::Full), ..plain.clone() },
            ),
        ];
        for (text, expected) in table {
            assert_eq!(order(text), expected, "{text:?}");
        }
    }

    #[test]
    fn options_say_what_they_were_made_of() {
        let table: [&[&str]; 4] = [
            &[],
            &["-t", "-FA b", "-Nnever", "-Rfull"],
            &["-Nsuccess,failure,delay", "-Rhdrs", "-Vid 1"],
            &["-Ndelay"],
        ];
        for text in table {
            let read = order(text);
            assert_eq!(read.options(), text);
            assert_eq!(
                words(&read.options().iter().map(String::as_str).collect::<Vec<_>>()).unwrap(),
                words(text).unwrap()
            );
        }
        let again = Order { verbose: true, ..Order::default() };
        let files = vec!["-a".to_owned(), "b".to_owned()];
        assert_eq!(words(&["-v", "--again", "-a", "b"]), Ok(Job::Again(Box::new(again), files)));
    }

    #[test]
    fn without_addresses_and_header_there_are_no_recipients() {
        assert_eq!(order(&["-i"]).check().unwrap_err().code, Code::Usage);
        assert_eq!(order(&["-t"]).check(), Ok(()));
        assert_eq!(order(&["a@x.example"]).check(), Ok(()));
    }

    #[test]
    fn other_jobs_are_told_apart() {
        for (text, job) in [
            (["-bp"], Job::ShowQueue),
            (["-q"], Job::Nothing),
            (["-q15m"], Job::Nothing),
            (["-bi"], Job::Nothing),
            (["-I"], Job::Nothing),
            (["--help"], Job::Help),
        ] {
            assert_eq!(words(&text), Ok(job), "{text:?}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let long = "x".repeat(ENVELOPE_ID_OCTETS_MAX + 1);
        let too_long = ["-V", long.as_str()];
        let table: Vec<(&[&str], &str)> = vec![
            (&["-bs"], "SMTP on standard input"),
            (&["-bd"], "postrider serve"),
            (&["-bt"], "not done here"),
            (&["-f"], "-f needs a value"),
            (&["-tZ"], "no option -Z"),
            (&["-é"], "no option -é"),
            (&["--verbose"], "no option --verbose"),
            (&["--config"], "needs a file"),
            (&["--again"], "needs files"),
            (&["-N", "often"], "never"),
            (&["-Rsome"], "full or hdrs"),
            (&["-V", ""], "envelope id"),
            (&too_long, "envelope id"),
            (&["-V", "a\nb"], "envelope id"),
            // A stranger's address is no option.
            (&["a@x.example", "-f", "b@x.example"], "after an address"),
            (&["a@x.example", "-Xfile"], "after an address"),
        ];
        for (text, problem) in table {
            let error = words(text).unwrap_err();
            assert!(error.contains(problem), "{text:?}: {error}");
        }
        let longest = "x".repeat(ENVELOPE_ID_OCTETS_MAX);
        assert_eq!(order(&["-V", &longest]).envelope_id, Some(longest));
    }
}
