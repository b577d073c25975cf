//! Fields that are `null`.

use serde::{Deserialize, Deserializer};

/// `null` in place of a field is the field's default, as the API server means it.
pub(super) fn lenient<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(<Option<T> as Deserialize>::deserialize(deserializer)?.unwrap_or_default())
}
