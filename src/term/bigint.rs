//! Integers past 64 bits.

use num_bigint::Sign;

/// Integers of more bytes are written in base 16: other bases take quadratic time, and whoever sends a term decides on
/// its size.
const DIGITS_BYTES_MAX: u64 = 1024;

/// An integer of any size.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct BigInt(pub(crate) num_bigint::BigInt);

impl BigInt {
    /// An integer by its sign and little-endian magnitude.
    pub fn from_bytes_le(negative: bool, magnitude: &[u8]) -> Self {
        let sign = if negative { Sign::Minus } else { Sign::Plus };
        Self(num_bigint::BigInt::from_bytes_le(sign, magnitude))
    }

    /// Whether it is below zero, and its little-endian magnitude, without leading zeros; that of zero is empty.
    pub fn to_bytes_le(&self) -> (bool, Vec<u8>) {
        let mut magnitude = self.0.magnitude().to_bytes_le();
        while magnitude.last() == Some(&0) {
            magnitude.pop();
        }
        (self.is_negative(), magnitude)
    }

    /// Whether it is below zero.
    pub fn is_negative(&self) -> bool {
        self.0.sign() == Sign::Minus
    }

    /// Its digits in a base of 2 to 36, of an integer that is not so long that this takes quadratic time.
    pub(crate) fn to_str_radix(&self, base: u32) -> Option<String> {
        (self.0.bits() <= DIGITS_BYTES_MAX * 8).then(|| self.0.to_str_radix(base))
    }
}

macro_rules! convert {
    ($($int:ty),*) => {$(
        impl From<$int> for BigInt {
            fn from(value: $int) -> Self {
                Self(value.into())
            }
        }

        impl TryFrom<&BigInt> for $int {
            type Error = std::num::TryFromIntError;

            /// # Errors
            /// If it does not fit.
            fn try_from(value: &BigInt) -> Result<Self, Self::Error> {
                // The standard error cannot be made by hand, so it is asked for.
                Self::try_from(&value.0).or_else(|_| Err(u8::try_from(-1_i8).expect_err("it is below zero")))
            }
        }
    )*};
}

convert!(i8, i16, i32, i64, i128, u8, u16, u32, u64, u128);

impl std::str::FromStr for BigInt {
    type Err = num_bigint::ParseBigIntError;

    /// # Errors
    /// If the text is not an integer in base 10.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

impl std::hash::Hash for BigInt {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}
