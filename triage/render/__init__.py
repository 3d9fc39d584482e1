"""Drawing the report for eyes, pipes and monitoring; every module here reads the report and nothing else."""
