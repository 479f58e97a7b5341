//! Keyrings that are not there, locked or hang: a clear message in time. The daemon's part is played by keyring-core's
//! mock and by threads; tests/suite/secrets plays a whole one on a socket.

use super::*;
use std::time::Instant;

#[test]
fn a_keyring_that_hangs_is_given_up_in_time() {
    let (_hold, wait) = mpsc::sync_channel::<()>(0);
    let started = Instant::now();
    let error = within(Duration::from_millis(50), move || {
        let _ = wait.recv();
        Ok(())
    });
    assert!(error.unwrap_err().contains("did not answer within 0.05 seconds"));
    assert!(started.elapsed() < Duration::from_secs(3));
    const { assert!(DEADLINE.as_millis() < 3000) };
}

#[test]
fn a_keyring_that_panics_is_an_error() {
    let error = within(DEADLINE, || -> Result<(), RingError> { panic!("the store's own bug") });
    assert_eq!(error.unwrap_err(), "asking it failed");
}

#[test]
fn reasons_are_clear_and_repeat_nothing_of_an_entry() {
    let locked = RingError::NoStorageAccess("the collection is locked".into());
    let gone = RingError::PlatformFailure("no bus\n  at all.".into());
    assert_eq!(reason(&locked), "it is locked: the collection is locked");
    assert_eq!(reason(&gone), "it is not there: no bus at all");
    assert_eq!(reason(&RingError::BadEncoding(b"hush".to_vec())), "it cannot keep this entry");
    assert!(reason(&RingError::NoEntry).contains("no entry"));
}

#[test]
fn another_keyring_is_never_taken_in_place_of_one() {
    let error = get("somebody-elses", "a").unwrap_err();
    assert!(code::FORMAT.is(&error) && error.text().contains("somebody-elses"));
}
