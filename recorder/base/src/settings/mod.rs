//! Settings: the sections of the configuration, and where each setting may come from.
//!
//! Each crate declares its own sections with [`sections!`](crate::sections); the program reads them all.

mod layers;
mod location;
mod setting;

use std::time::Duration;

#[doc(hidden)]
pub use serde_json::{Map, Value};

pub use layers::{
    ALIASES, Entries, Environment, Flags, Layers, Problem, ProcessEnvironment, Setting, SettingDoc,
    enter_section, join, variable,
};
pub use location::{Location, MOUNTED};
pub use setting::{ByteSize, Origin, SettingValue};

/// Declares sections: structs with defaults that can be read, printed and documented.
/// A field is `name: type = default => allowed range; origin`. A text needs an origin: `anywhere` if it names no address,
/// credential or file, else `mounted`; other types have their own.
#[macro_export]
macro_rules! sections {
    ($(
        $(#[doc = $section_doc:literal])*
        pub struct $section:ident {$(
            $(#[doc = $doc:literal])*
            $field:ident: $type:ty = $default:expr $(=> $bounds:expr)? $(; $origin:ident)?,
        )*}
    )*) => {$(
        $(#[doc = $section_doc])*
        #[derive(Debug, Clone, PartialEq)]
        pub struct $section {$(
            $(#[doc = $doc])*
            pub $field: $type,
        )*}

        impl Default for $section {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }

        impl $crate::settings::Setting for $section {
            fn read(
                layers: &mut $crate::settings::Layers<'_>,
                path: &str,
                default: Self,
                _: Option<::std::ops::RangeInclusive<Self>>,
                _: Option<$crate::settings::Origin>,
            ) -> Self {
                $crate::settings::enter_section(layers, path);
                Self {$(
                    $field: {
                        let path = $crate::settings::join(path, stringify!($field));
                        let bounds = $crate::sections!(@bounds $($bounds)?);
                        $crate::settings::Setting::read(layers, &path, default.$field, bounds, $crate::sections!(@origin $($origin)?))
                    },
                )*}
            }

            fn to_yaml(&self) -> $crate::settings::Value {
                let mut map = $crate::settings::Map::new();
                $(map.insert(stringify!($field).to_owned(), $crate::settings::Setting::to_yaml(&self.$field));)*
                $crate::settings::Value::Object(map)
            }

            fn document(
                &self,
                path: &str,
                _: Option<::std::ops::RangeInclusive<Self>>,
                _: Option<$crate::settings::Origin>,
                _: &str,
                out: &mut Vec<$crate::settings::SettingDoc>,
            ) {
                $(
                    let doc: &[&str] = &[$($doc),*];
                    let path_here = $crate::settings::join(path, stringify!($field));
                    let bounds = $crate::sections!(@bounds $($bounds)?);
                    let origin = $crate::sections!(@origin $($origin)?);
                    $crate::settings::Setting::document(&self.$field, &path_here, bounds, origin, &doc.concat(), out);
                )*
            }
        }
    )*};
    (@bounds) => { None };
    (@bounds $bounds:expr) => { Some($bounds) };
    (@origin) => { None };
    (@origin anywhere) => { Some($crate::settings::Origin::Anywhere) };
    (@origin mounted) => { Some($crate::settings::Origin::Mounted) };
}

pub const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub const fn hours(hours: u64) -> Duration {
    seconds(hours * 3600)
}

pub const fn days(days: u64) -> Duration {
    hours(days * 24)
}
