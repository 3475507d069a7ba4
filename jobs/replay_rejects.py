"""`rejected_events` -> the topic: messages that the present rule accepts, each once; without --send, their counts."""

from lambda_spark import cli
from lambda_spark.replay.reject_replay import replay_rejects
from lambda_spark.report import answers


def main() -> None:
    """Parse the options and run the job."""
    options = cli.parser(__doc__, cli.add_table_options, cli.add_topic_options)
    options.add_argument("--send", action="store_true", help="send them; by default they are only counted")
    args = options.parse_args()
    answers.print_reject_counts(replay_rejects(cli.load(args), args.send), args.send)


if __name__ == "__main__":
    cli.run(main)
