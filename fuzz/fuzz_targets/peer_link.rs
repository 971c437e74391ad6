#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| simulator::fuzz::run("peer_link", input));
