//! The zip reader, in both of its ways: `fuzz::zip`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::zip(data));
