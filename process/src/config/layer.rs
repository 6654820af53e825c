use std::collections::BTreeMap;

/// A set of options of which some are given. Derive it field by field with [`layered!`](crate::layered).
pub trait Layer {
    /// `self` where it says something, `lower` elsewhere.
    #[must_use]
    fn or(self, lower: Self) -> Self;
}

impl<T> Layer for Option<T> {
    fn or(self, lower: Self) -> Self {
        Option::or(self, lower)
    }
}

/// A list replaces the list below it. Appending was rejected: nobody could take an entry of the file away by a flag.
impl<T> Layer for Vec<T> {
    fn or(self, lower: Self) -> Self {
        if self.is_empty() { lower } else { self }
    }
}

/// As for lists: tables of the file that have no flag.
impl<K, V> Layer for BTreeMap<K, V> {
    fn or(self, lower: Self) -> Self {
        if self.is_empty() { lower } else { self }
    }
}

/// Implements [`Layer`](crate::config::Layer) for a struct, field by field. A field left out does not compile.
///
/// ```compile_fail
/// struct Options { listen: Option<u16>, admin: Option<u16> }
/// sluice_process::layered!(Options { listen });
/// ```
#[macro_export]
macro_rules! layered {
    ($options:ident { $($field:ident),+ $(,)? }) => {
        impl $crate::config::Layer for $options {
            fn or(self, lower: Self) -> Self {
                Self { $($field: $crate::config::Layer::or(self.$field, lower.$field)),+ }
            }
        }
    };
}
