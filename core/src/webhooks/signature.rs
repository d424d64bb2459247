//! How whoever is called knows who calls.
//!
//! The field `X-Postrider-Webhook-Signature` has `t=TIME,v1=SIGNATURE`: TIME is when the attempt was made, in seconds since 1970,
//! SIGNATURE the HMAC-SHA256, in hexadecimal, of `TIME.ID.BODY`, where ID is that of `X-Postrider-Webhook-ID`. With TIME in it, what was
//! recorded can't be played again later; with ID in it, nobody can make a second event of it meanwhile.

use std::fmt::Write as _;

use ring::hmac;

/// The value of the field.
pub(super) fn signature(secret: &str, time: i64, id: &str, body: &[u8]) -> String {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()));
    context.update(format!("{time}.{id}.").as_bytes());
    context.update(body);
    context.sign().as_ref().iter().fold(format!("t={time},v1="), |mut text, octet| {
        let _ = write!(text, "{octet:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_that_of_other_programs() {
        // python3 -c 'import hmac; print(hmac.new(b"0123456789abcdef", b"1700000000.42.{}", "sha256").hexdigest())'
        let made = signature("0123456789abcdef", 1_700_000_000, "42", b"{}");
        assert_eq!(made, "t=1700000000,v1=812d73744ceb6a048b823562dc79bf943eca1a154d344406ab28a35a13fd359b");
        let others = [
            signature("0123456789abcdeg", 1_700_000_000, "42", b"{}"),
            signature("0123456789abcdef", 1_700_000_001, "42", b"{}"),
            signature("0123456789abcdef", 1_700_000_000, "43", b"{}"),
            signature("0123456789abcdef", 1_700_000_000, "42", b"{ }"),
        ];
        assert!(others.iter().all(|other| other[13..] != made[13..]));
    }
}
