# Jupyter with what the notebooks import, in the versions with which they are tested.
FROM python:3.11-slim-bookworm
COPY tools/requirements.txt /requirements/tools/requirements.txt
COPY deploy/jupyter-requirements.txt /requirements/deploy/jupyter-requirements.txt
RUN pip install --no-cache-dir -r /requirements/deploy/jupyter-requirements.txt && \
    useradd --create-home --uid 1000 jupyter
USER jupyter
WORKDIR /notebooks
EXPOSE 8888
# The token is in the log: whoever has it can run anything as this user.
ENTRYPOINT ["jupyter", "lab", "--ip", "0.0.0.0", "--port", "8888", "--no-browser"]
