//! Changes inputs the way that breaks decoders of length-prefixed records.

use crate::random::Random;

/// Longest input: decoders are linear, longer ones only cost time.
const INPUT_BYTES_MAX: usize = 4096;

/// Numbers that sit on the edges of lengths, counts, versions and flags.
const EDGES: &[i32] = &[
    -1,
    -2,
    0,
    1,
    2,
    3,
    4,
    5,
    6,
    7,
    8,
    9,
    12,
    13,
    14,
    19,
    21,
    22,
    100,
    127,
    255,
    1 << 16,
    0xf_ffff,
    1 << 30,
    i32::MAX,
    i32::MIN,
];

/// Turns a seed into something else: a few changes, and now and then a piece of another seed.
pub fn mutate(random: &mut Random, seeds: &[Vec<u8>], out: &mut Vec<u8>) {
    out.clear();
    let seed = random.index(seeds.len());
    out.extend_from_slice(&seeds[seed]);
    for _ in 0..random.between(1, 5) {
        change(random, seeds, out);
    }
    out.truncate(INPUT_BYTES_MAX);
}

fn change(random: &mut Random, seeds: &[Vec<u8>], out: &mut Vec<u8>) {
    if out.is_empty() {
        out.push(random.draw() as u8);
        return;
    }
    let at = random.index(out.len());
    match random.below(10) {
        0 => out[at] ^= 1 << random.below(8),
        1 => out[at] = random.draw() as u8,
        2 | 3 => put(out, at, *random.pick(EDGES)),
        4 => nudge(random, out, at),
        5 => out.truncate(at),
        6 => {
            let end = (at + random.index(16)).min(out.len());
            out.drain(at..end);
        }
        7 => {
            let end = (at + 1 + random.index(64)).min(out.len());
            let piece = out[at..end].to_vec();
            let to = random.index(out.len() + 1);
            out.splice(to..to, piece);
        }
        8 => {
            let other = &seeds[random.index(seeds.len())];
            let from = random.index(other.len() + 1);
            out.truncate(at);
            out.extend_from_slice(&other[from..]);
        }
        _ => {
            let fresh: Vec<u8> = (0..random.between(1, 8)).map(|_| random.draw() as u8).collect();
            out.splice(at..at, fresh);
        }
    }
}

fn put(out: &mut [u8], at: usize, value: i32) {
    for (byte, new) in out[at..].iter_mut().zip(value.to_be_bytes()) {
        *byte = new;
    }
}

/// Moves a number by a little: lengths that are off by one.
fn nudge(random: &mut Random, out: &mut [u8], at: usize) {
    let Some(word) = out[at..].first_chunk::<4>() else { return };
    let step = random.between(0, 8) as i32 - 4;
    put(out, at, i32::from_be_bytes(*word).wrapping_add(step));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mutants_are_bounded_and_repeatable() {
        let seeds = vec![vec![7; 100], vec![1, 2, 3]];
        let (mut a, mut b) = (Random::new(3), Random::new(3));
        let (mut x, mut y) = (Vec::new(), Vec::new());
        for _ in 0..10_000 {
            mutate(&mut a, &seeds, &mut x);
            mutate(&mut b, &seeds, &mut y);
            assert_eq!(x, y);
            assert!(x.len() <= INPUT_BYTES_MAX);
        }
    }
}
