//! `--set KEY=VALUE`: one parameter of the planner by the path that it has in a file.

use std::str::FromStr;

use serde_json::Value;

use crate::decide::plan::PlanParams;

/// One parameter and what it is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    key: String,
    value: String,
}

impl FromStr for Setting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (key, value) = text.split_once('=').ok_or("write KEY=VALUE, as in cap.small_bias=1.5")?;
        Ok(Self { key: key.trim().to_owned(), value: value.trim().to_owned() })
    }
}

/// A setting that can not be planned with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}={value} is not usable: {accepted}")]
pub struct SetError {
    pub key: String,
    pub value: String,
    pub accepted: String,
}

/// `params` with the settings in place.
///
/// # Errors
/// For an unknown key with the list of those that there are.
pub fn apply(params: PlanParams, settings: &[Setting]) -> Result<PlanParams, SetError> {
    let mut params = params;
    for setting in settings {
        params = setting.applied(params)?;
        params.check().map_err(|error| setting.refuse(error.accepted))?;
    }
    Ok(params)
}

impl Setting {
    fn refuse(&self, accepted: String) -> SetError {
        SetError { key: self.key.clone(), value: self.value.clone(), accepted }
    }

    fn applied(&self, params: PlanParams) -> Result<PlanParams, SetError> {
        let mut tree = serde_json::to_value(params).expect("parameters are numbers");
        let known = keys(&tree);
        let pointer = format!("/{}", self.key.replace('.', "/"));
        let Some(place) = tree.pointer_mut(&pointer).filter(|_| known.contains(&self.key)) else {
            return Err(self.refuse(format!("the key is one of {}", known.join(", "))));
        };
        let number = serde_json::from_str(&self.value).ok().filter(Value::is_number);
        *place = number.ok_or_else(|| self.refuse("a number".to_owned()))?;
        serde_json::from_value(tree).map_err(|_| self.refuse("a whole number, 1 or more".to_owned()))
    }
}

/// Paths of all numbers.
fn keys(tree: &Value) -> Vec<String> {
    let Value::Object(fields) = tree else { return Vec::new() };
    let mut all = Vec::new();
    for (name, value) in fields {
        match value {
            Value::Object(_) => all.extend(keys(value).into_iter().map(|below| format!("{name}.{below}"))),
            _ => all.push(name.clone()),
        }
    }
    all
}
