//! `Stripe-Signature: t=<seconds>,v1=<hex of HMAC-SHA256 over "t.payload">[,v1=…]`.

use chrono::{DateTime, Utc};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::InvalidSignature;

/// Allowed difference between the time of a signature and ours, in seconds.
const TOLERANCE_SECONDS: u64 = 300;

/// Verifies the header against the payload. One valid `v1` is enough: while a secret is rotated there are two.
pub(super) fn verify(header: &str, payload: &[u8], secret: &str, now: DateTime<Utc>) -> Result<(), InvalidSignature> {
    let mut time = None;
    let mut signatures = Vec::new();
    for part in header.split(',') {
        match part.trim().split_once('=') {
            Some(("t", text)) => time = Some(text),
            Some(("v1", text)) => signatures.extend(hex::decode(text)),
            _ => {}
        }
    }
    let time = time.ok_or(InvalidSignature("the signature has no time"))?;
    let seconds: i64 = time.parse().map_err(|_| InvalidSignature("the signature's time is not a number"))?;
    let mac = mac(secret, time, payload);
    // `verify_slice` compares in constant time.
    if !signatures.iter().any(|signature| mac.clone().verify_slice(signature).is_ok()) {
        return Err(InvalidSignature("the signature does not fit the body"));
    }
    if now.timestamp().abs_diff(seconds) > TOLERANCE_SECONDS {
        return Err(InvalidSignature("the signature is too old, or from the future"));
    }
    Ok(())
}

/// The header that the gateway sends with a payload.
pub fn sign(payload: &[u8], secret: &str, now: DateTime<Utc>) -> String {
    let time = now.timestamp().to_string();
    let signature = hex::encode(mac(secret, &time, payload).finalize().into_bytes());
    format!("t={time},v1={signature}")
}

fn mac(secret: &str, time: &str, payload: &[u8]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length");
    mac.update(time.as_bytes());
    mac.update(b".");
    mac.update(payload);
    mac
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    const SECRET: &str = "whsec_ours";

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000, 0).unwrap()
    }

    #[test]
    fn a_valid_signature_is_accepted() {
        let header = sign(b"{}", SECRET, now());

        assert!(verify(&header, b"{}", SECRET, now()).is_ok());
        assert!(verify(&header, b"{ }", SECRET, now()).is_err());
        assert!(verify(&header, b"{}", "whsec_other", now()).is_err());
    }

    #[test]
    fn the_signature_is_computed_as_stripe_documents() {
        let mac = mac("secret", "1", b"x").finalize().into_bytes();

        // printf '1.x' | openssl dgst -sha256 -hmac secret
        assert_eq!(hex::encode(mac), "33270e99f50e3d3ec295e0d7185dc323a6231c2739f396d70e6b71ea6a435486");
    }

    #[test]
    fn one_valid_signature_of_several_is_enough() {
        let valid = sign(b"{}", SECRET, now());
        let header = valid.replace(",v1=", &format!(",v1={},v1=zz,v0=aa,v1=", "00".repeat(32)));

        assert!(verify(&header, b"{}", SECRET, now()).is_ok());
    }

    #[test]
    fn clocks_may_differ_by_five_minutes_either_way() {
        for (seconds, accepted) in [(-301, false), (-300, true), (300, true), (301, false)] {
            let header = sign(b"{}", SECRET, now() + TimeDelta::seconds(seconds));

            assert_eq!(verify(&header, b"{}", SECRET, now()).is_ok(), accepted, "{seconds}");
        }
    }

    #[test]
    fn malformed_headers_are_refused() {
        for header in ["", "t=1", "v1=00", "t=x,v1=00", "nonsense", "t=99999999999999999999,v1=00"] {
            assert!(verify(header, b"{}", SECRET, now()).is_err(), "{header}");
        }
    }
}
