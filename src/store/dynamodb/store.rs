//! The store over the client.

use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_dynamodb::{operation::update_item::UpdateItemError, types::AttributeValue};

use super::{
    DynamoDbSettings,
    connect::{Connection, REQUEST_TIMEOUT, connect},
    error::explain,
    expression::Change,
    history,
    item::{self, Item, KEY},
    renew::{self, Seen},
    reply::other_key,
    swap,
};
use crate::{
    lock::{Beat, CodecError, Ending, EpochMs, LockName, LockState, Map, Token},
    store::{Consistency, Expected, Liveness, Renewal, Store, StoreError, Swap},
};

/// How often a renewal looks for its entry again: each time, another holder before it has come or gone.
const RENEWAL_TRIES: usize = 5;

/// Locks in a DynamoDB table.
#[derive(Debug)]
pub struct DynamoDbStore {
    connection: Connection,
    seen: Seen,
}

/// What a conditional change came to.
enum Changed {
    /// It took effect. The item as it stands, if it was asked for.
    Done(Option<Item>),
    /// The condition failed, and nothing was written. The item as it stands, if there is one.
    Failed(Option<Item>),
}

impl DynamoDbStore {
    /// Reads the AWS configuration and fetches credentials; the table is first asked by the first request.
    ///
    /// # Errors
    /// [`StoreError::Refused`] without a region or credentials, [`StoreError::Unavailable`] when the source
    /// of the credentials does not answer.
    pub async fn connect(settings: &DynamoDbSettings) -> Result<Self, StoreError> {
        Ok(Self { connection: connect(settings).await?, seen: Seen::default() })
    }

    async fn change(&self, name: &LockName, change: Change) -> Result<Changed, StoreError> {
        let Connection { client, place, .. } = &self.connection;
        let request = client
            .update_item()
            .table_name(&place.table)
            .key(KEY, AttributeValue::S(name.as_str().to_owned()));
        match change.onto(request).send().await {
            Ok(output) => Ok(Changed::Done(output.attributes)),
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(_)) => {
                    Ok(Changed::Failed(match error.into_service_error() {
                        UpdateItemError::ConditionalCheckFailedException(failed) => failed.item,
                        _ => None,
                    }))
                }
                _ => Err(explain(place, "UpdateItem", &error)),
            },
        }
    }

    /// The lock of an item that a request for a decision brought.
    fn lock(&self, name: &LockName, item: Option<Item>) -> Result<Option<LockState>, StoreError> {
        let at_home = |item| item::lock_at_home(&self.connection.place, name, item);
        let state = item.map(at_home).transpose()?;
        if let Some(state) = &state {
            self.seen.note(name, state);
        }
        Ok(state)
    }

    /// The lock of an item that a renewal brought: one's own hold is renewed wherever it was granted.
    fn renewed(&self, name: &LockName, map: Map) -> Result<LockState, StoreError> {
        let state = item::lock(name, map)?;
        self.seen.note(name, &state);
        Ok(state)
    }

    /// An item without the attributes that were asked for: no DynamoDB answers so.
    fn incomplete(&self) -> StoreError {
        StoreError::Unanswered(format!("{}: the reply lacks the item", self.connection.place))
    }
}

#[async_trait]
impl Store for DynamoDbStore {
    async fn read(&self, name: &LockName, consistency: Consistency) -> Result<Option<LockState>, StoreError> {
        let Connection { client, place, .. } = &self.connection;
        let reply = client
            .get_item()
            .table_name(&place.table)
            .key(KEY, AttributeValue::S(name.as_str().to_owned()))
            .consistent_read(consistency == Consistency::Strong)
            .send()
            .await
            .map_err(|error| explain(place, "GetItem", &error))?;
        self.lock(name, reply.item)
    }

    async fn swap(
        &self,
        name: &LockName,
        expected: Expected<'_>,
        new: &LockState,
    ) -> Result<Swap, StoreError> {
        let change = match expected {
            Expected::Free { seed } => swap::over_free(new, seed, &self.connection.place.region),
            Expected::This(expected) => swap::over_this(expected, new),
        };
        match (self.change(name, change).await?, expected) {
            (Changed::Failed(item), _) => Ok(Swap::Conflict(self.lock(name, item)?)),
            (Changed::Done(_), Expected::This(_)) => {
                self.seen.note(name, new);
                Ok(Swap::Swapped(new.clone()))
            }
            (Changed::Done(item), Expected::Free { .. }) => {
                Ok(Swap::Swapped(self.lock(name, item)?.ok_or_else(|| self.incomplete())?))
            }
        }
    }

    async fn renew(&self, name: &LockName, token: Token, beat: Beat) -> Result<Renewal, StoreError> {
        let (mut index, mut beat) = (self.seen.index(name, token), beat);
        for _ in 0..RENEWAL_TRIES {
            let item = match self.change(name, renew::beat(index, token, beat)).await? {
                Changed::Done(item) => {
                    self.seen.keep(name, token, index);
                    let map = item::map(name, item.ok_or_else(|| self.incomplete())?)?;
                    return Ok(Renewal::Renewed(self.renewed(name, map)?));
                }
                Changed::Failed(None) => return Ok(Renewal::Gone(None)),
                Changed::Failed(Some(item)) => item::map(name, item)?,
            };
            match item::hold(&item, token) {
                // Late or doubled: it moves the beat all the same, as `LockState::renew` says.
                Some((at, Some(counted))) => (index, beat) = (at, beat.max(counted.next())),
                Some((_, None)) | None => return Ok(Renewal::Gone(Some(self.renewed(name, item)?))),
            }
        }
        Err(StoreError::Unavailable(format!(
            "{}: lock {name} changed {RENEWAL_TRIES} times during one renewal",
            self.connection.place
        )))
    }

    async fn list(&self, consistency: Consistency) -> Result<Vec<(LockName, LockState)>, StoreError> {
        let Connection { client, place, .. } = &self.connection;
        let mut locks = Vec::new();
        let mut from = None;
        loop {
            let page = client
                .scan()
                .table_name(&place.table)
                .consistent_read(consistency == Consistency::Strong)
                .filter_expression("attribute_not_exists(#Ending)")
                .expression_attribute_names("#Ending", history::ENDING)
                .set_exclusive_start_key(from)
                .send()
                .await
                .map_err(|error| explain(place, "Scan", &error))?;
            for item in page.items.unwrap_or_default() {
                locks.extend(self.listed(item)?);
            }
            from = page.last_evaluated_key;
            if from.is_none() {
                locks.sort_by(|(a, _), (b, _)| a.cmp(b));
                return Ok(locks);
            }
        }
    }

    async fn record(&self, name: &LockName, ending: &Ending) -> Result<(), StoreError> {
        history::record(&self.connection, name, ending).await
    }

    async fn endings(&self, name: &LockName) -> Result<Vec<Ending>, StoreError> {
        history::endings(&self.connection, name).await
    }

    fn now(&self) -> EpochMs {
        self.connection.clock.now()
    }

    fn liveness(&self) -> Liveness {
        Liveness::Lease
    }

    fn request_deadline(&self) -> Duration {
        REQUEST_TIMEOUT
    }

    fn describe(&self) -> String {
        self.connection.place.to_string()
    }
}

impl DynamoDbStore {
    /// The lock of a scanned item. The table may have items of other programs, and one that is damaged does
    /// not hide the others.
    fn listed(&self, item: Item) -> Result<Option<(LockName, LockState)>, StoreError> {
        let Some(AttributeValue::S(key)) = item.get(KEY) else {
            let place = &self.connection.place;
            return Err(StoreError::Refused(other_key(&format!("{place}: its items have no LockID"))));
        };
        let Ok(name) = LockName::new(key.clone()) else {
            tracing::debug!(?key, "skipping an item whose key is no lock's name");
            return Ok(None);
        };
        match item::lock_at_home(&self.connection.place, &name, item) {
            Ok(state) => Ok(Some((name, state))),
            Err(StoreError::Document { error: CodecError::Foreign, .. }) => {
                tracing::debug!(%name, "skipping an item of another program");
                Ok(None)
            }
            Err(error @ StoreError::Document { .. }) => {
                tracing::warn!("skipping a lock: {error}");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}
