//! The manifest of an application: `fuzz::application`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::application(data));
