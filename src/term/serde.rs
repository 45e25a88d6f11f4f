//! How terms and their parts pass through serde.

use serde::de::{Deserialize, Deserializer};
use serde::ser::{Serialize, Serializer};

use super::{Atom, Pid, Port, Reference, Term};

macro_rules! native {
    ($($type:ty),*) => {$(
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let _ = serializer;
                todo!()
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let _ = deserializer;
                todo!()
            }
        }
    )*};
}

native!(Atom, Pid, Port, Reference, Term);
