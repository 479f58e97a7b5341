//! Where cargo puts what it builds, found from where the test itself lies.

use std::path::PathBuf;

/// The target directory.
///
/// # Panics
/// When the test does not lie where cargo puts tests.
pub fn directory() -> PathBuf {
    profile_directory().parent().expect("a target directory above the profile's").to_path_buf()
}

/// The folder of the profile that the test was built in, such as `target/debug`.
///
/// # Panics
/// When the test does not lie where cargo puts tests.
pub fn profile_directory() -> PathBuf {
    let test = std::env::current_exe().expect("a test is a file");
    test.ancestors().nth(2).expect("tests lie in target/PROFILE/deps").to_path_buf()
}
