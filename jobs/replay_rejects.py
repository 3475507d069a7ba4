"""`rejected_events` -> the topic: messages that are events by the present rule, each once; without --send, a look."""

from lambda_spark import cli
from lambda_spark.replay.reject_replay import replay_rejects
from lambda_spark.report import answers


def main() -> None:
    """Parse the options and run the job."""
    options = cli.parser(__doc__)
    cli.add_table_options(options)
    cli.add_topic_options(options)
    options.add_argument("--send", action="store_true", help="send them; else only say how many there are")
    args = options.parse_args()
    answers.print_reject_counts(replay_rejects(cli.load(args), args.send), args.send)


if __name__ == "__main__":
    cli.run(main)
