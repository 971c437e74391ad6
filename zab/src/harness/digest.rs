//! What tells one state of an ensemble from another, in 64 bits and quickly: walks compare millions of states. With as many, two that
//! differ get the same number once in a hundred thousand walks.

use std::hash::{Hash, Hasher};
use std::rc::Rc;

use super::{Ensemble, Flight, Server};

/// Multiplies and folds word by word.
#[derive(Default)]
pub(super) struct Mixer(u64);

impl Hasher for Mixer {
    fn finish(&self) -> u64 {
        let mixed = (self.0 ^ self.0 >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed ^ mixed >> 32
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u64(&mut self, word: u64) {
        let mixed = (self.0 ^ word).wrapping_add(0x9e37_79b9_7f4a_7c15).wrapping_mul(0x94d0_49bb_1331_11eb);
        self.0 = mixed ^ mixed >> 31;
    }

    fn write_u32(&mut self, word: u32) {
        self.write_u64(u64::from(word));
    }

    fn write_usize(&mut self, word: usize) {
        self.write_u64(word as u64);
    }

    fn write_u8(&mut self, byte: u8) {
        self.write_u64(u64::from(byte));
    }
}

impl Server {
    fn digest(&self) -> u64 {
        self.digest.get().unwrap_or_else(|| {
            let mut mixer = Mixer::default();
            (&self.disk, self.role, self.applied).hash(&mut mixer);
            if let Some(peer) = &self.peer {
                peer.hash_promises(&mut mixer);
            }
            self.digest.set(Some(mixer.finish()));
            mixer.finish()
        })
    }
}

impl Ensemble {
    /// The state as far as promises are concerned: not elections, not what happened before. `extra` is part of it.
    pub(crate) fn digest(&self, extra: impl Hash) -> u64 {
        let mut mixer = Mixer::default();
        for server in self.servers.values() {
            mixer.write_u64(server.digest());
        }
        (&self.connections, &self.record, extra).hash(&mut mixer);
        // Only the order within one stream matters.
        let mut flights: Vec<&Flight> = self.flights.iter().map(Rc::as_ref).collect();
        flights.sort_by_key(|flight| (flight.from, flight.to, flight.connection));
        flights.iter().for_each(|flight| mixer.write_u64(flight.digest));
        mixer.finish()
    }
}
