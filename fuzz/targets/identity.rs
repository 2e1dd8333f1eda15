//! Certificates and texts of several: `fuzz::identity`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::identity(data));
