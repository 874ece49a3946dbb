//! JSON from outside, read strictly: a struct must be an object, each name may appear once, an enum must be its word.
//!
//! What `serde` derives also accepts an array for a struct and `{"word": null}` for a word. Bodies are therefore read
//! into a tree first, and the tree refuses both. Errors name the field, not the line.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{
        DeserializeOwned, Error as _, IntoDeserializer, MapAccess, SeqAccess, Unexpected, Visitor,
        value::{Error, MapDeserializer, SeqDeserializer, StringDeserializer},
    },
    forward_to_deserialize_any,
};

/// The value in `json`, or a description for the client of what is wrong with it.
pub fn from_slice<T: DeserializeOwned>(json: &[u8]) -> Result<T, String> {
    let tree: Tree = serde_json::from_slice(json).map_err(|error| error.to_string())?;
    T::deserialize(tree).map_err(|error| error.to_string())
}

/// Any JSON value; objects keep the order of their members.
#[derive(Clone, Debug)]
enum Tree {
    Null,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Text(String),
    Array(Vec<Tree>),
    Object(Vec<(String, Tree)>),
}

impl Tree {
    fn unexpected(&self) -> Unexpected<'_> {
        match self {
            Self::Null => Unexpected::Other("null"),
            Self::Bool(value) => Unexpected::Bool(*value),
            Self::Unsigned(value) => Unexpected::Unsigned(*value),
            Self::Signed(value) => Unexpected::Signed(*value),
            Self::Float(value) => Unexpected::Float(*value),
            Self::Text(text) => Unexpected::Str(text),
            Self::Array(_) => Unexpected::Other("an array"),
            Self::Object(_) => Unexpected::Other("an object"),
        }
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Tree, E> {
        Ok(Tree::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Tree, E> {
        Ok(Tree::Unsigned(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Tree, E> {
        Ok(Tree::Signed(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Tree, E> {
        Ok(Tree::Float(value))
    }

    fn visit_str<E>(self, text: &str) -> Result<Tree, E> {
        Ok(Tree::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Tree, E> {
        Ok(Tree::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Tree, A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element()? {
            array.push(item);
        }
        Ok(Tree::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Tree, A::Error> {
        let (mut object, mut names) = (Vec::new(), std::collections::HashSet::new());
        while let Some(name) = members.next_key::<String>()? {
            if !names.insert(name.clone()) {
                return Err(A::Error::custom(format!("`{name}` is given twice")));
            }
            object.push((name, members.next_value()?));
        }
        Ok(Tree::Object(object))
    }
}

/// Prefixes an error with the name of the member it is in.
fn within(name: &str, error: &Error) -> Error {
    Error::custom(format!("{name}: {error}"))
}

/// The value of a member together with its name, for error messages.
struct Member {
    name: String,
    value: Tree,
}

impl IntoDeserializer<'_, Error> for Tree {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl IntoDeserializer<'_, Error> for Member {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for Member {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.value.deserialize_any(visitor).map_err(|error| within(&self.name, &error))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.value.deserialize_option(visitor).map_err(|error| within(&self.name, &error))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Error> {
        self.value.deserialize_newtype_struct(name, visitor).map_err(|error| within(&self.name, &error))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.value.deserialize_struct(name, fields, visitor).map_err(|error| within(&self.name, &error))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.value.deserialize_enum(name, variants, visitor).map_err(|error| within(&self.name, &error))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map identifier ignored_any
    }
}

impl<'de> Deserializer<'de> for Tree {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self {
            Self::Null => visitor.visit_unit(),
            Self::Bool(value) => visitor.visit_bool(value),
            Self::Unsigned(value) => visitor.visit_u64(value),
            Self::Signed(value) => visitor.visit_i64(value),
            Self::Float(value) => visitor.visit_f64(value),
            Self::Text(text) => visitor.visit_string(text),
            Self::Array(items) => {
                let mut items = SeqDeserializer::new(items.into_iter());
                let value = visitor.visit_seq(&mut items)?;
                items.end()?;
                Ok(value)
            }
            Self::Object(members) => {
                let named = |(name, value): (String, Self)| (name.clone(), Member { name, value });
                let mut members = MapDeserializer::new(members.into_iter().map(named));
                let value = visitor.visit_map(&mut members)?;
                members.end()?;
                Ok(value)
            }
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self {
            Self::Null => visitor.visit_none(),
            value => visitor.visit_some(value),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _name: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self {
            Self::Object(_) => self.deserialize_any(visitor),
            other => Err(Error::invalid_type(other.unexpected(), &"an object")),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self {
            Self::Text(word) => {
                let word: StringDeserializer<Error> = word.into_deserializer();
                visitor.visit_enum(word)
            }
            other => Err(Error::invalid_type(other.unexpected(), &"a string")),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Order {
        id: u32,
        #[serde(default)]
        lines: Vec<Line>,
        #[serde(default)]
        kind: Option<Kind>,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Line {
        seats: i32,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(rename_all = "snake_case")]
    enum Kind {
        Urgent,
    }

    fn fault(json: &str) -> String {
        from_slice::<Order>(json.as_bytes()).unwrap_err()
    }

    #[test]
    fn an_object_is_read() {
        let json = r#"{"id": 7, "lines": [{"seats": -1}], "kind": "urgent"}"#;

        let read: Order = from_slice(json.as_bytes()).unwrap();

        assert_eq!(read, Order { id: 7, lines: vec![Line { seats: -1 }], kind: Some(Kind::Urgent) });
        assert!(from_slice::<Order>(br#"{"id": 7, "kind": null}"#).is_ok());
    }

    #[test]
    fn an_array_is_no_object_at_any_depth() {
        assert_eq!(fault("[7, [], null]"), "invalid type: an array, expected an object");
        assert_eq!(fault(r#"{"id": 7, "lines": [[1]]}"#), "lines: invalid type: an array, expected an object");
    }

    #[test]
    fn a_word_is_a_string() {
        assert_eq!(fault(r#"{"id": 7, "kind": {"urgent": null}}"#), "kind: invalid type: an object, expected a string");
        assert!(fault(r#"{"id": 7, "kind": "idle"}"#).starts_with("kind: unknown variant `idle`"));
    }

    #[test]
    fn a_name_is_given_once() {
        assert!(fault(r#"{"id": 7, "id": 7}"#).starts_with("`id` is given twice at line 1"));
        assert!(fault(r#"{"id": 7, "lines": [{"seats": 1, "seats": 2}]}"#).starts_with("`seats` is given twice"));
    }

    #[test]
    fn a_number_fits_its_field() {
        for (number, said) in [
            ("7.0", "id: invalid type: floating point"),
            ("1e2", "id: invalid type: floating point"),
            ("-1", "id: invalid value: integer `-1`"),
            ("4294967296", "id: invalid value: integer `4294967296`"),
            ("99999999999999999999", "id: invalid type: floating point"),
            ("\"7\"", "id: invalid type: string \"7\""),
            ("1e999", "number out of range"),
            ("007", "invalid number"),
            ("NaN", "expected value"),
        ] {
            let fault = fault(&format!(r#"{{"id": {number}}}"#));
            assert!(fault.starts_with(said), "{number}: {fault}");
        }
    }

    #[test]
    fn what_is_not_json_is_refused() {
        let deep = format!(r#"{{"id": {}"#, "[".repeat(5_000));
        for json in ["", "{", r#"{"id": 7} x"#, r#"{"id": 7,}"#, "{'id': 7}", &deep] {
            assert!(!fault(json).is_empty(), "{json}");
        }
        assert!(from_slice::<Order>(b"{\"id\": 7, \"\xff\": 1}").is_err());
        assert!(from_slice::<Order>(br#"{"id": 7, "\ud800": 1}"#).is_err());
    }
}
