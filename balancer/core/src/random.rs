//! The random source that decisions take as a parameter.

/// Uniformly distributed bits. Any `FnMut() -> u64` is one.
pub trait Random {
    /// The next 64 bits.
    fn bits(&mut self) -> u64;

    /// A number in `0..bound`; 0 if `bound` is 0. The bias of at most `bound / 2^64` does not matter for placement.
    fn below(&mut self, bound: u64) -> u64 {
        let wide = u128::from(self.bits()) * u128::from(bound);
        (wide >> 64) as u64
    }
}

impl<F: FnMut() -> u64> Random for F {
    fn bits(&mut self) -> u64 {
        self()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// SplitMix64: a small seeded generator for tests.
    pub(crate) fn seeded(mut state: u64) -> impl FnMut() -> u64 {
        move || {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let z = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            z ^ (z >> 31)
        }
    }

    #[test]
    fn numbers_stay_below_their_bound_and_reach_all_of_it() {
        let mut random = seeded(1);
        let mut seen = [0_u32; 5];
        for _ in 0..5_000 {
            seen[random.below(5) as usize] += 1;
        }
        assert!(seen.iter().all(|count| (800..1200).contains(count)), "{seen:?}");
        assert_eq!(random.below(0), 0);
    }
}
