//! Expressions for `UpdateItem`. Every attribute is written as `#Name`, as several of ours (`Format`,
//! `Owner`, `Token`, …) are or may become reserved words.

use std::collections::HashMap;

use aws_sdk_dynamodb::{
    operation::update_item::builders::UpdateItemFluentBuilder,
    types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure},
};

/// A conditional change of one item.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) condition: String,
    pub(super) set: Vec<String>,
    pub(super) remove: Vec<&'static str>,
    pub(super) values: Vec<(&'static str, AttributeValue)>,
    /// Whether the item as it stands afterwards is wanted.
    pub(super) wants_item: bool,
}

impl Change {
    /// The request for it.
    pub(super) fn onto(self, request: UpdateItemFluentBuilder) -> UpdateItemFluentBuilder {
        let mut update = format!("SET {}", self.set.join(", "));
        if !self.remove.is_empty() {
            update = format!("{update} REMOVE {}", self.remove.join(", "));
        }
        let names = names_in(&format!("{update} {}", self.condition));
        let values = self.values.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        request
            .update_expression(update)
            .condition_expression(self.condition)
            .set_expression_attribute_names(Some(names))
            .set_expression_attribute_values(Some(values))
            .return_values(if self.wants_item { ReturnValue::AllNew } else { ReturnValue::None })
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
    }
}

/// The names that an expression mentions. (DynamoDB refuses a request that defines one more.)
fn names_in(expression: &str) -> HashMap<String, String> {
    let words = expression.split('#').skip(1);
    words
        .map(|rest| rest.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default())
        .map(|name| (format!("#{name}"), name.to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_paths_functions_and_lists() {
        let names = names_in("SET #Holders[0].#Beat = :b, #Rev = if_not_exists(#Rev, :s) REMOVE #ExpiresAt");
        let mut found: Vec<&str> = names.values().map(String::as_str).collect();
        found.sort_unstable();
        assert_eq!(found, ["Beat", "ExpiresAt", "Holders", "Rev"]);
        assert_eq!(names["#Beat"], "Beat");
    }
}
