//! The owners of a job's holds.

use super::facts::JobFacts;
use crate::lock::Owner;

impl JobFacts {
    /// The job, as the owner of a hold of its own. Where the instance is unknown, its name is empty.
    pub fn job_owner(&self) -> Owner {
        Owner::job(self.host.as_deref().unwrap_or_default(), self.job_id)
    }

    /// The job's pipeline, as the owner of a hold that its jobs share; or the pipeline `parent` of the same
    /// project, whose hold the job's pipeline shares. None where the runner doesn't say which instance, project
    /// or pipeline the job is of.
    ///
    /// `parent` is the word of the job's author. Instance and project never are, so that it names no pipeline
    /// of another project.
    pub fn pipeline_owner(&self, parent: Option<u64>) -> Option<Owner> {
        let (host, project, pipeline) = (self.host.as_deref()?, self.project_id?, self.pipeline_id?);
        Some(Owner::pipeline(host, project, parent.unwrap_or(pipeline)))
    }
}
