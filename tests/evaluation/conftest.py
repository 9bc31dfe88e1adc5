"""A classifier of scikit-learn's 8x8 digits, trained once: real data without a download."""

import pytest

from text2digit.config import DataConfig
from text2digit.data import load_dataset
from text2digit.evaluation.judge import Judge, split_training
from text2digit.evaluation.train_classifier import train_classifier

DIGITS = DataConfig(dataset="digits")


@pytest.fixture(scope="session")
def classifier_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("classifier")
    data, _ = split_training(load_dataset(DIGITS))
    train_classifier(data, epochs=15, progress=False).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def judge(classifier_folder):
    return Judge(DIGITS, classifier_folder)
