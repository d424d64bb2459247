//! `/etc/postrider-sendmail.toml`: where messages go, and as whom.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use postrider_core::config::parse_octets;
use postrider_proto::address::{Address, Domain, HeloName};
use postrider_proto::sasl::{Limits, Mechanism, Secret, text};
use postrider_storage::toml;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use toml_edit::Item;

use super::exit::{Code, Failed};

/// The file that is read when none is named.
pub const FILE: &str = "/etc/postrider-sendmail.toml";
/// Names another file.
pub const VARIABLE: &str = "POSTRIDER_SENDMAIL_CONFIG";

/// Octets of the file, and of that with the password.
const FILE_OCTETS_MAX: u64 = 64 << 10;
/// Octets of a message, unless configured.
const MESSAGE_OCTETS_MAX: u64 = 100 << 20;

/// How the connection is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encryption {
    StartTls,
    Implicit,
    Off,
}

/// Whether the server's certificate has to be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Authorities of a file, or of the system, vouch for it.
    Verify(Option<PathBuf>),
    /// Any will do.
    Anything,
}

/// What is asked of transport security (RFC 8689).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequireTls {
    Yes,
    No,
    Default,
}

/// Who logs in.
#[derive(Clone, Debug)]
pub struct Login {
    pub username: String,
    pub password: Secret<String>,
    /// The one that is used; otherwise the strongest that both sides have.
    pub mechanism: Option<Mechanism>,
}

/// A certificate that is shown to the server, with its key. Both are read with the configuration, as later the program may
/// no longer read them.
#[derive(Clone, Debug)]
pub struct Identity {
    pub chain: Vec<CertificateDer<'static>>,
    pub key: Arc<PrivateKeyDer<'static>>,
}

/// Everything that is configured.
#[derive(Clone, Debug)]
pub struct Config {
    pub host: String,
    pub port: u16,
    pub tls: Encryption,
    pub trust: Trust,
    pub login: Option<Login>,
    /// The client's own certificate.
    pub identity: Option<Identity>,
    /// The address that every message is from.
    pub from: Option<Address>,
    /// The domain of addresses without one.
    pub default_domain: Option<Domain>,
    /// Who gets what is for an address without a domain.
    pub default_recipient: Option<Address>,
    /// What is said in EHLO.
    pub hostname: Option<HeloName>,
    pub requiretls: RequireTls,
    pub message_octets_max: u64,
}

impl Default for Config {
    /// Without a file: the server of this machine, which knows its own.
    fn default() -> Self {
        Self {
            host: "localhost".to_owned(),
            port: 25,
            tls: Encryption::Off,
            trust: Trust::Verify(None),
            login: None,
            identity: None,
            from: None,
            default_domain: None,
            default_recipient: None,
            hostname: None,
            requiretls: RequireTls::Default,
            message_octets_max: MESSAGE_OCTETS_MAX,
        }
    }
}

impl Config {
    /// Reads the file that was named, or else the usual one where it exists.
    pub fn load(named: Option<&Path>) -> Result<Self, Failed> {
        let file = named.unwrap_or(Path::new(FILE));
        let text = match bounded(file) {
            Ok(text) => text,
            Err(error) if named.is_none() && error.kind() == ErrorKind::NotFound => {
                return Ok(Self::default());
            }
            Err(error) => {
                return Err(Failed::new(Code::Config, format!("can't read {}: {error}", file.display())));
            }
        };
        Self::parse(&text, file)
    }

    /// Reads a text, and the file of the password that it names. Relative paths start at the directory of `file`.
    pub fn parse(text: &str, file: &Path) -> Result<Self, Failed> {
        let document = toml::parse(text).map_err(|bad| wrong(file, text, bad.at.start, &bad.problem))?;
        let mut reader = Reader { text, file, written: Written::default() };
        for (key, item) in document.as_table().iter() {
            let at = document.as_table().key(key).and_then(|key| key.span()).map_or(0, |span| span.start);
            reader.take(key, item, at)?;
        }
        reader.finish()
    }
}

/// What is written, as far as it is read.
#[derive(Default)]
struct Written {
    host: Option<String>,
    port: Option<u16>,
    tls: Option<Encryption>,
    ca_file: Option<PathBuf>,
    insecure: bool,
    username: Option<String>,
    password: Option<Secret<String>>,
    mechanism: Option<(Mechanism, usize)>,
    chain: Option<Vec<CertificateDer<'static>>>,
    key: Option<PrivateKeyDer<'static>>,
    rest: Config,
}

struct Reader<'a> {
    text: &'a str,
    file: &'a Path,
    written: Written,
}

impl Reader<'_> {
    fn wrong(&self, at: usize, problem: &str) -> Failed {
        wrong(self.file, self.text, at, problem)
    }

    fn take(&mut self, key: &str, item: &Item, at: usize) -> Result<(), Failed> {
        let text = || item.as_str().ok_or_else(|| self.wrong(at, &format!("{key} is a text in quotes")));
        let bad = |expected: &str| self.wrong(at, &format!("{key} can't be used: {expected}"));
        let directory = self.file.parent().unwrap_or(Path::new(""));
        match key {
            "host" => {
                let host = text()?;
                if host.is_empty() {
                    return Err(bad("write a name or an address"));
                }
                self.written.host = Some(host.to_owned());
            }
            "port" => {
                let port =
                    item.as_integer().and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0);
                self.written.port = Some(port.ok_or_else(|| bad("write a number from 1 to 65535"))?);
            }
            "tls" => {
                self.written.tls = Some(match text()? {
                    "starttls" => Encryption::StartTls,
                    "implicit" => Encryption::Implicit,
                    "off" => Encryption::Off,
                    _ => return Err(bad("write \"starttls\", \"implicit\" or \"off\"")),
                });
            }
            "ca_file" => self.written.ca_file = Some(directory.join(text()?)),
            "insecure" => {
                self.written.insecure = item.as_bool().ok_or_else(|| bad("write true or false"))?;
            }
            "certificate_file" => {
                let chain = read_pem(&directory.join(text()?), certificates);
                self.written.chain = Some(chain.map_err(|why| bad(&why))?);
            }
            "key_file" => {
                let key = read_pem(&directory.join(text()?), PrivateKeyDer::from_pem_slice);
                self.written.key = Some(key.map_err(|why| bad(&why))?);
            }
            "username" => self.written.username = Some(text()?.to_owned()),
            "password" | "password_file" => {
                if self.written.password.is_some() {
                    return Err(bad("there is a password already"));
                }
                let password = if key == "password" {
                    text()?.to_owned()
                } else {
                    let file = directory.join(text()?);
                    let read = bounded(&file);
                    let read =
                        read.map_err(|error| bad(&format!("can't read {}: {error}", file.display())))?;
                    read.lines().next().unwrap_or_default().to_owned()
                };
                let prepared = text::prepare_password(password.as_bytes(), &Limits::DEFAULT);
                self.written.password = Some(prepared.map_err(|error| bad(&error.to_string()))?);
            }
            "mechanism" => {
                let mechanism = Mechanism::parse(text()?.as_bytes());
                let expected = "write one of EXTERNAL, SCRAM-SHA-256-PLUS, SCRAM-SHA-256, SCRAM-SHA-1-PLUS, SCRAM-SHA-1, \
                                CRAM-MD5, PLAIN, LOGIN; without it, the strongest of both sides is used";
                self.written.mechanism = Some((mechanism.ok_or_else(|| bad(expected))?, at));
            }
            "from" => {
                let address = Address::parse(text()?).map_err(|error| bad(&error.to_string()))?;
                self.written.rest.from = Some(address);
            }
            "default_recipient" => {
                let address = Address::parse(text()?).map_err(|error| bad(&error.to_string()))?;
                self.written.rest.default_recipient = Some(address);
            }
            "default_domain" => {
                let domain = Domain::parse(text()?).map_err(|error| bad(&error.to_string()))?;
                self.written.rest.default_domain = Some(domain);
            }
            "hostname" => {
                let name = HeloName::parse(text()?).map_err(|error| bad(&error.to_string()))?;
                self.written.rest.hostname = Some(name);
            }
            "requiretls" => {
                self.written.rest.requiretls = match text()? {
                    "yes" => RequireTls::Yes,
                    "no" => RequireTls::No,
                    "default" => RequireTls::Default,
                    _ => return Err(bad("write \"yes\", \"no\" or \"default\"")),
                };
            }
            "message_size" => {
                let octets = parse_octets(text()?).filter(|octets| *octets > 0);
                self.written.rest.message_octets_max =
                    octets.ok_or_else(|| bad("write a size such as \"100 MiB\""))?;
            }
            _ => return Err(self.wrong(at, &format!("there is no key {key:?}"))),
        }
        Ok(())
    }

    /// Whether the parts fit together.
    fn finish(self) -> Result<Config, Failed> {
        let whole = |problem: &str| Failed::new(Code::Config, format!("{}: {problem}", self.file.display()));
        let written = self.written;
        let tls = written.tls.unwrap_or(Encryption::StartTls);
        if written.insecure && written.ca_file.is_some() {
            return Err(whole("insecure and ca_file contradict each other"));
        }
        let trust = if written.insecure { Trust::Anything } else { Trust::Verify(written.ca_file) };
        if let Some((mechanism, at)) = written.mechanism
            && mechanism.sends_password()
            && (tls == Encryption::Off || trust == Trust::Anything)
        {
            let problem =
                format!("{mechanism} shows the password to the server, so it needs TLS without insecure");
            return Err(wrong(self.file, self.text, at, &problem));
        }
        let identity = match (written.chain, written.key) {
            (Some(chain), Some(key)) => Some(Identity { chain, key: Arc::new(key) }),
            (None, None) => None,
            _ => return Err(whole("certificate_file and key_file need each other")),
        };
        if identity.is_some() && tls == Encryption::Off {
            return Err(whole("certificate_file needs TLS to the server"));
        }
        let mechanism = written.mechanism.map(|(mechanism, _)| mechanism);
        if mechanism == Some(Mechanism::External) && identity.is_none() {
            return Err(whole("the mechanism EXTERNAL needs certificate_file and key_file"));
        }
        let login = match (written.username, written.password) {
            (Some(username), Some(password)) => {
                let name = text::Login::new(username.as_bytes(), &Limits::DEFAULT);
                let name = name.map_err(|error| whole(&format!("username can't be used: {error}")))?;
                Some(Login { username: name.as_str().to_owned(), password, mechanism })
            }
            (None, None) if mechanism.is_none_or(|mechanism| mechanism == Mechanism::External) => None,
            (Some(_), None) => return Err(whole("there is a username without password or password_file")),
            (None, _) => return Err(whole("there is a password or a mechanism, and no username")),
        };
        if written.rest.requiretls == RequireTls::Yes && tls == Encryption::Off {
            return Err(whole("requiretls = \"yes\" needs TLS to the server"));
        }
        let port = written.port.unwrap_or(match tls {
            Encryption::StartTls => 587,
            Encryption::Implicit => 465,
            Encryption::Off => 25,
        });
        let host = written.host.unwrap_or(written.rest.host);
        Ok(Config { host, port, tls, trust, login, identity, ..written.rest })
    }
}

/// A problem with its line.
fn wrong(file: &Path, text: &str, at: usize, problem: &str) -> Failed {
    let line = text.as_bytes()[..at.min(text.len())].iter().filter(|octet| **octet == b'\n').count() + 1;
    Failed::new(Code::Config, format!("{}:{line}: {problem}", file.display()))
}

/// What a file in PEM holds.
fn read_pem<T>(file: &Path, read: impl FnOnce(&[u8]) -> Result<T, pem::Error>) -> Result<T, String> {
    let octets = bounded(file).map_err(|error| format!("{}: {error}", file.display()))?;
    read(octets.as_bytes()).map_err(|error| format!("{}: {error}", file.display()))
}

/// A certificate, with those between it and its authority.
fn certificates(octets: &[u8]) -> Result<Vec<CertificateDer<'static>>, pem::Error> {
    let chain = CertificateDer::pem_slice_iter(octets).collect::<Result<Vec<_>, _>>()?;
    if chain.is_empty() { Err(pem::Error::NoItemsFound) } else { Ok(chain) }
}

/// The text of a file that isn't large.
fn bounded(file: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    File::open(file)?.take(FILE_OCTETS_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_OCTETS_MAX {
        return Err(std::io::Error::other(format!("it is larger than {FILE_OCTETS_MAX} octets")));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that fails may panic")]
    use super::*;

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse(text, Path::new("/x/s.toml")).map_err(|failed| {
            assert_eq!(failed.code, Code::Config);
            failed.text
        })
    }

    #[test]
    fn everything_that_can_be_written_is_read() {
        let config = parse(
            "host = \"mail.example\"\nport = 1587\ntls = \"starttls\"\nca_file = \"ca.pem\"\nusername = \"a@x.example\"\n\
             password = \"secret\"\nmechanism = \"scram-sha-256\"\nfrom = \"a@x.example\"\n\
             default_domain = \"x.example\"\ndefault_recipient = \"root@x.example\"\nhostname = \"me.x.example\"\n\
             requiretls = \"no\"\nmessage_size = \"1 MiB\"\n",
        )
        .unwrap();
        assert_eq!(
            (config.host.as_str(), config.port, config.tls),
            ("mail.example", 1587, Encryption::StartTls)
        );
        assert_eq!(config.trust, Trust::Verify(Some("/x/ca.pem".into())));
        let login = config.login.unwrap();
        assert_eq!((login.username.as_str(), login.password.expose().as_str()), ("a@x.example", "secret"));
        assert_eq!(login.mechanism, Some(Mechanism::ScramSha256));
        assert_eq!((config.requiretls, config.message_octets_max), (RequireTls::No, 1 << 20));
        assert_eq!(config.default_recipient.unwrap().to_string(), "root@x.example");
    }

    #[test]
    fn ports_follow_from_tls() {
        let port = |text: &str| parse(text).unwrap().port;
        assert_eq!(port(""), 587);
        assert_eq!(port("tls = \"implicit\""), 465);
        assert_eq!(port("tls = \"off\""), 25);
        let none = Config::default();
        assert_eq!((none.host.as_str(), none.port, none.tls), ("localhost", 25, Encryption::Off));
    }

    #[test]
    fn problems_are_said_with_their_line() {
        let login = "username = \"a\"\npassword = \"secret\"\n";
        for (text, problem) in [
            ("\nprot = 3\n".to_owned(), "/x/s.toml:2: there is no key \"prot\""),
            ("host = \"a\"\nport = 0".to_owned(), "/x/s.toml:2: port"),
            ("host = 1".to_owned(), "/x/s.toml:1: host is a text"),
            ("host = \"\"".to_owned(), "/x/s.toml:1: host"),
            ("tls = \"always\"".to_owned(), "/x/s.toml:1: tls"),
            ("host = \"a\"\nhost = ".to_owned(), "/x/s.toml:2: "),
            ("from = \"nobody\"".to_owned(), "/x/s.toml:1: from"),
            ("mechanism = \"NONE\"".to_owned(), "/x/s.toml:1: mechanism"),
            ("mechanism = \"EXTERNAL\"".to_owned(), "needs certificate_file"),
            (
                "certificate_file = \"none\"".to_owned(),
                "/x/s.toml:1: certificate_file can't be used: /x/none: ",
            ),
            ("\nkey_file = \"none\"".to_owned(), "/x/s.toml:2: key_file can't be used: /x/none: "),
            ("password = \"a\"\npassword_file = \"b\"".to_owned(), "/x/s.toml:2: password_file"),
            ("password_file = \"none\"".to_owned(), "can't read /x/none"),
            ("username = \"a\"".to_owned(), "without password"),
            ("password = \"abc\"".to_owned(), "no username"),
            ("insecure = true\nca_file = \"a\"".to_owned(), "contradict"),
            ("requiretls = \"yes\"\ntls = \"off\"".to_owned(), "needs TLS"),
            (format!("{login}tls = \"off\"\nmechanism = \"PLAIN\""), "/x/s.toml:4: PLAIN shows"),
            (format!("{login}insecure = true\nmechanism = \"LOGIN\""), "/x/s.toml:4: LOGIN shows"),
        ] {
            let error = parse(&text).unwrap_err();
            assert!(error.contains(problem), "{text:?}: {error}");
        }
    }

    #[test]
    fn a_password_is_the_first_line_of_its_file() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("pw"), "pa ss\r\nmore\n").unwrap();
        let file = dir.path().join("s.toml");
        std::fs::write(&file, "username = \"a\"\npassword_file = \"pw\"\n").unwrap();
        let config = Config::load(Some(&file)).unwrap();
        assert_eq!(config.login.unwrap().password.expose(), "pa ss");
        assert_eq!(Config::load(Some(&dir.path().join("none"))).unwrap_err().code, Code::Config);
    }
}
