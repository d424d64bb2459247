//! The parameters of MAIL and RCPT.

use super::super::envelope::{BodyType, Hold, Notify, OriginalRecipient, Recipient, Return};
use super::super::{Envelope, Reply, xtext};

/// Longest ENVID (RFC 3461 §4.4).
const ENVELOPE_ID_OCTETS_MAX: usize = 100;
/// Longest ORCPT (RFC 3461 §4.2).
const ORIGINAL_RECIPIENT_OCTETS_MAX: usize = 500;

/// One `keyword` or `keyword=value`.
struct Parameter<'a> {
    keyword: String,
    value: Option<&'a str>,
}

impl<'a> Parameter<'a> {
    fn value(&self) -> Result<&'a str, Reply> {
        self.value.filter(|value| !value.is_empty()).ok_or(Reply::BAD_PARAMETER)
    }

    fn no_value(&self) -> Result<(), Reply> {
        if self.value.is_none() { Ok(()) } else { Err(Reply::BAD_PARAMETER) }
    }
}

/// Splits parameters, and refuses one that stands twice.
fn split(text: &str) -> Result<Vec<Parameter<'_>>, Reply> {
    let mut parameters: Vec<Parameter<'_>> = Vec::new();
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let (keyword, value) = match word.split_once('=') {
            Some((keyword, value)) => (keyword, Some(value)),
            None => (word, None),
        };
        // esmtp-keyword = (ALPHA / DIGIT) *(ALPHA / DIGIT / "-")
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if keyword.is_empty() || keyword.starts_with('-') || !keyword.bytes().all(fits) {
            return Err(Reply::SYNTAX);
        }
        let keyword = keyword.to_ascii_uppercase();
        if parameters.iter().any(|earlier| earlier.keyword == keyword) {
            return Err(Reply::DUPLICATE_PARAMETER);
        }
        parameters.push(Parameter { keyword, value });
    }
    Ok(parameters)
}

/// Reads the parameters of MAIL into `envelope`.
pub(super) fn mail(text: &str, envelope: &mut Envelope) -> Result<(), Reply> {
    for parameter in split(text)? {
        match parameter.keyword.as_str() {
            "SIZE" => {
                let octets = digits(parameter.value()?, 20).ok_or(Reply::BAD_PARAMETER)?;
                envelope.declared_octets = Some(octets);
            }
            "BODY" => envelope.body = body_type(parameter.value()?)?,
            // The value names who submitted it elsewhere; nothing of ours believes it (RFC 4954 §5).
            "AUTH" => {
                xtext::decode(parameter.value()?).ok_or(Reply::BAD_PARAMETER)?;
            }
            "SMTPUTF8" => {
                parameter.no_value()?;
                envelope.smtputf8 = true;
            }
            "REQUIRETLS" => {
                parameter.no_value()?;
                envelope.requiretls = true;
            }
            "RET" => envelope.ret = Some(return_type(parameter.value()?)?),
            "ENVID" => envelope.envelope_id = Some(envelope_id(parameter.value()?)?),
            "HOLDFOR" => set_hold(envelope, hold_for(parameter.value()?)?)?,
            "HOLDUNTIL" => set_hold(envelope, hold_until(parameter.value()?)?)?,
            _ => return Err(Reply::UNKNOWN_PARAMETER),
        }
    }
    Ok(())
}

/// Reads the parameters of RCPT into `recipient`.
pub(super) fn rcpt(text: &str, recipient: &mut Recipient) -> Result<(), Reply> {
    for parameter in split(text)? {
        match parameter.keyword.as_str() {
            "NOTIFY" => recipient.notify = Some(notify(parameter.value()?)?),
            "ORCPT" => recipient.original = Some(original_recipient(parameter.value()?)?),
            _ => return Err(Reply::UNKNOWN_PARAMETER),
        }
    }
    Ok(())
}

/// A number of 1 to `most` digits. Past `u64` it is `u64::MAX`, which is over every limit.
pub(super) fn digits(text: &str, most: usize) -> Option<u64> {
    if !(1..=most).contains(&text.len()) || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(text.parse().unwrap_or(u64::MAX))
}

fn body_type(value: &str) -> Result<BodyType, Reply> {
    match value.to_ascii_uppercase().as_str() {
        "7BIT" => Ok(BodyType::SevenBit),
        "8BITMIME" => Ok(BodyType::EightBitMime),
        "BINARYMIME" => Ok(BodyType::BinaryMime),
        _ => Err(Reply::UNKNOWN_BODY),
    }
}

fn return_type(value: &str) -> Result<Return, Reply> {
    match value.to_ascii_uppercase().as_str() {
        "FULL" => Ok(Return::Full),
        "HDRS" => Ok(Return::Headers),
        _ => Err(Reply::BAD_PARAMETER),
    }
}

fn envelope_id(value: &str) -> Result<Box<str>, Reply> {
    if value.len() > ENVELOPE_ID_OCTETS_MAX {
        return Err(Reply::BAD_PARAMETER);
    }
    xtext::decode(value).map(Into::into).ok_or(Reply::BAD_PARAMETER)
}

fn set_hold(envelope: &mut Envelope, hold: Hold) -> Result<(), Reply> {
    if envelope.hold.replace(hold).is_some() { Err(Reply::HOLD_CONFLICT) } else { Ok(()) }
}

fn hold_for(value: &str) -> Result<Hold, Reply> {
    let seconds = digits(value, 9).filter(|seconds| *seconds > 0).ok_or(Reply::BAD_PARAMETER)?;
    u32::try_from(seconds).map(Hold::For).map_err(|_| Reply::BAD_PARAMETER)
}

/// An RFC 3339 date-time in UTC, written with `T` and `Z`. A second that has begun is waited for whole, as nothing may be
/// released before (RFC 4865 §4 item 6).
fn hold_until(value: &str) -> Result<Hold, Reply> {
    let shaped = value.len() <= 32 && value.as_bytes().get(10) == Some(&b'T') && value.ends_with('Z');
    let timestamp = value.parse::<jiff::Timestamp>().ok().filter(|_| shaped).ok_or(Reply::BAD_PARAMETER)?;
    let begun = i64::from(timestamp.subsec_nanosecond() > 0);
    Ok(Hold::Until(timestamp.as_second().saturating_add(begun)))
}

fn notify(value: &str) -> Result<Notify, Reply> {
    let mut notify = Notify::default();
    if value.eq_ignore_ascii_case("NEVER") {
        return Ok(notify);
    }
    for word in value.split(',') {
        let wish = match word.to_ascii_uppercase().as_str() {
            "SUCCESS" => &mut notify.success,
            "FAILURE" => &mut notify.failure,
            "DELAY" => &mut notify.delay,
            _ => return Err(Reply::BAD_PARAMETER),
        };
        *wish = true;
    }
    Ok(notify)
}

/// `addr-type ";" xtext`; with the type `utf-8` the forms of RFC 6533 §3 too.
fn original_recipient(value: &str) -> Result<OriginalRecipient, Reply> {
    if value.len() > ORIGINAL_RECIPIENT_OCTETS_MAX {
        return Err(Reply::BAD_PARAMETER);
    }
    let (address_type, address) = value.split_once(';').ok_or(Reply::BAD_PARAMETER)?;
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    if address_type.is_empty() || !address_type.bytes().all(fits) {
        return Err(Reply::BAD_PARAMETER);
    }
    let address_type = address_type.to_ascii_lowercase();
    let address =
        if address_type == "utf-8" { xtext::decode_utf8_address(address) } else { xtext::decode(address) };
    let address = address.filter(|address| !address.is_empty()).ok_or(Reply::BAD_PARAMETER)?;
    Ok(OriginalRecipient { address_type: address_type.into(), address: address.into() })
}
