# Read by every start of Spark, through the link <site-packages>/pyspark/conf that `make setup` makes.
_root="$(cd -P "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

# Without these a Python worker may start under an interpreter that has none of the packages.
if [ -x "$_root/.venv/bin/python" ]; then
  PYSPARK_PYTHON="${PYSPARK_PYTHON:-$_root/.venv/bin/python}"
  PYSPARK_DRIVER_PYTHON="${PYSPARK_DRIVER_PYTHON:-$PYSPARK_PYTHON}"
fi

# The Java that `make setup` has found good; the JAVA_HOME of the moment may be too old for Spark.
if [ -x "$_root/.runtime/java/bin/java" ]; then
  JAVA_HOME="$_root/.runtime/java"
fi
# Object storage, once `make s3` has fetched what it needs.
if [ -d "$_root/.runtime/s3/spark" ]; then
  SPARK_DIST_CLASSPATH="$_root/.runtime/s3/spark/*"
fi
unset _root
