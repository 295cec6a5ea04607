"""The Distillation Correlation Score: does a method's loss track the test error of students trained on its sets? (methods E)"""
