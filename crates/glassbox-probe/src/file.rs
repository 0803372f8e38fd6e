//! The language of the configuration file: values with locations, blocks of optional keys, and errors that name the
//! key, its location and what was expected.

pub mod fill;
pub mod issue;
pub mod keys;
pub mod read;
pub mod regexps;
pub mod tree;
pub mod units;

pub use fill::Fill;
pub use issue::{ConfigIssue, Location};
pub use read::{Read, Spanned, at, filled};
pub use tree::{Node, NodeKind, below};

/// Declares a block of optional keys. The keys after `unserved` are known but not supported. They are rejected, not
/// ignored. A field after `flattened` contains further keys of the same mapping.
#[macro_export]
macro_rules! block {
    (
        $(#[$doc:meta])*
        $name:ident { $($(#[$meta:meta])* $key:ident: $type:ty,)* }
        unserved { $($unserved:ident,)* }
        $(flattened $others:ident: $flattened:ty)?
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, ::serde::Serialize)]
        #[allow(
            clippy::struct_field_names,
            missing_docs,
            reason = "the keys are those of the configuration file, documented in examples/glassbox.yml"
        )]
        pub struct $name {
            $(
                #[serde(skip_serializing_if = "Option::is_none")]
                $(#[$meta])*
                pub $key: Option<$type>,
            )*
            $(
                #[serde(flatten)]
                pub $others: $flattened,
            )?
        }

        impl $name {
            /// The supported keys.
            #[must_use]
            pub fn keys() -> Vec<&'static str> {
                #[allow(unused_mut, reason = "only a block with flattened keys adds some")]
                let mut keys = vec![$($crate::file::keys::plain(stringify!($key))),*];
                $(keys.extend(<$flattened>::keys());)?
                keys
            }
        }

        impl $crate::file::Fill for $name {
            fn fill(self, from: &Self) -> Self {
                Self {
                    $($key: self.$key.fill(&from.$key),)*
                    $($others: self.$others.fill(&from.$others),)?
                }
            }
        }

        impl $crate::file::Read for $name {
            fn read(node: &$crate::file::Node, path: &str) -> Result<Self, $crate::file::ConfigIssue> {
                const UNSERVED: &[&str] = &[$(stringify!($unserved)),*];
                let mut block = Self::default();
                for (key, value) in node.block(path)? {
                    let path = $crate::file::below(path, &key.name);
                    match key.name.as_str() {
                        name if UNSERVED.contains(&name) => {
                            $crate::file::keys::refuse_unserved(key.location, value, &path)?;
                        }
                        $(
                            name if name == $crate::file::keys::plain(stringify!($key)) => {
                                if !matches!(value.kind, $crate::file::NodeKind::Nothing) {
                                    block.$key = Some($crate::file::Read::read(value, &path)?);
                                }
                            }
                        )*
                        $(
                            name if <$flattened>::keys().contains(&name) => {
                                block.$others.read_key(name, value, &path)?;
                            }
                        )?
                        _ => return Err($crate::file::keys::unknown(key, &path, &Self::keys())),
                    }
                }
                Ok(block)
            }
        }
    };
}
